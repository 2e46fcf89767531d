// The page /metrics: families of proto/registry.toml, made once a second.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "broker/base/error.h"
#include "broker/base/histogram.h"
#include "broker/base/registry.gen.h"
#include "broker/runtime/broker.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::observe {

// What the service knows and a snapshot does not say.
struct ServiceStats {
  Histogram loop{kSecondsBounds};                                   // seconds
  std::array<uint64_t, registry::kErrorKinds.size() + 1> errors{};  // by ErrorKind
  uint64_t connections = 0;
};

// Serves /metrics from the page that was made last, so that a scrape never
// touches the shard. Beyond kMaxQueues, in order of name, queues are summed up
// under the name "_other".
// Thread-safety: Update is called on one thread; the rest as you like.
class Metrics {
 public:
  static constexpr int kMaxQueues = 1'000;

  Metrics();
  ~Metrics();
  // Listens on host:port (port 0: a free one). The error says why not.
  Status Serve(const std::string& address);
  int port() const;
  // Makes the page anew; about once a second.
  void Update(const ::spillway::v1::WatchResponse& snapshot,
              const runtime::Broker::Observed& observed, const ServiceStats& service);
  // The page as Prometheus reads it.
  std::string Text() const;

 private:
  class Page;
  class Server;
  void CountReasons(const ::spillway::v1::WatchResponse& snapshot);

  // Update's thread only: the reasons that were seen last, and how often each began.
  std::map<std::string, int> last_reasons_;
  std::map<int, uint64_t> reason_starts_;
  const std::shared_ptr<Page> page_;
  std::unique_ptr<Server> server_;
};

}  // namespace spillway::observe
