// The numbers of the broker as Prometheus reads them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "broker/base/error.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::observe {

// Serves /metrics from the last snapshot that it was given, so that a scrape
// never touches the shard. Beyond 1,000 queues the rest is summed under the queue
// "other". Thread-safe.
class Metrics {
 public:
  static constexpr int kMaxQueues = 1'000;

  Metrics();
  ~Metrics();
  // Listens on host:port (port 0: a free one). The error says why not.
  Status Serve(const std::string& address);
  int port() const;
  // About once a second.
  void Update(std::shared_ptr<const ::spillway::v1::WatchResponse> snapshot,
              int64_t longest_round_nanos);

 private:
  class Collector;
  class Server;
  std::shared_ptr<Collector> collector_;
  std::unique_ptr<Server> server_;
};

}  // namespace spillway::observe
