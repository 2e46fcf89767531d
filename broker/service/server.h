// The broker's gRPC server: one port, one or more shards.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "broker/base/clock.h"
#include "broker/base/error.h"
#include "broker/base/histogram.h"
#include "broker/runtime/broker.h"
#include "broker/service/acceptor.h"
#include "broker/service/call.h"
#include "broker/service/health.h"
#include "broker/service/shard.h"
#include "broker/session/options.h"

namespace spillway::service {

struct ServerOptions {
  // Threads that poll; each runs one shard of the broker.
  size_t shards = 1;
  AcceptorOptions accept;
  session::SessionOptions session;
  // Streams of Publish and Consume together.
  uint32_t max_streams = registry::limit::kMaxSessions;
  // Of one connection.
  int max_streams_per_connection = 1024;
  // The largest frame that is taken from the network: a largest record of any
  // queue, and what wraps it.
  int max_frame_bytes = (64 << 20) + (64 << 10);
  // For how long a shard polls before it sleeps, at most; see IdlePoll.
  MonoNanos longest_poll = 0;
};

// Every call, of whatever service, comes in through one generic service: nothing
// but the shards' own threads polls, and frames stay bytes until a handler reads
// them. gRPC gives a call to any shard that waits for one; see Call for how it gets
// where it belongs.
//
// Thread-safety: Start and Stop once each, in this order; the rest on any thread, but
// for what is REQUIRED before Start.
class Server final : private Methods {
 public:
  // Binds the address. The error says why not.
  static Result<std::unique_ptr<Server>> Create(const ServerOptions& options, Clock* clock);
  ~Server() override;

  // For BrokerOptions::wake.
  void Wake(size_t shard = 0) { lines_[shard]->shard.Wake(); }
  // Starts the shards' threads, each of which starts its broker.
  // REQUIRES: one broker for each shard.
  void Start(const std::vector<runtime::Broker*>& brokers);
  void Start(runtime::Broker* broker) { Start(std::vector{broker}); }
  // Runs `f` on the first shard's thread. REQUIRES: started.
  void OnShard(std::function<void(runtime::Broker*)> f);
  // Says NOT_SERVING, tells every session, and calls `done` (on the first shard's
  // thread) when all that was credited is finished.
  void Drain(std::function<void()> done);
  // Waits a little for calls that are ending, cancels the rest, ends the threads.
  void Stop();
  // Calls `f` on the first shard's thread about every `period`. REQUIRES: not started.
  void Every(MonoNanos period, std::function<void(runtime::Broker*, const Now&)> f);

  int port() const { return acceptor_->port(); }
  // Calls that are open or waited for.
  size_t calls() const;
  // Open connections.
  uint64_t connections() const { return acceptor_->connections(); }
  // How long rounds took (see Shard), in seconds; of up to a second ago.
  Histogram rounds() const;
  // Errors that calls ended with, by kind.
  std::array<uint64_t, Shard::kErrorKinds> errors() const;

 private:
  // What there is for each shard.
  struct Line {
    Line(Peers* peers, std::unique_ptr<grpc::ServerCompletionQueue> queue, Clock* clock,
         MonoNanos longest_poll)
        : shard(peers, std::move(queue), clock, longest_poll) {}
    Shard shard;
    runtime::Broker* broker = nullptr;
    std::thread thread;
    // On its thread.
    Health health;
    Histogram rounds{kSecondsBounds};
    mutable std::mutex mutex;
    Histogram rounds_told{kSecondsBounds};  // guarded by mutex
  };

  Server() = default;
  std::unique_ptr<Handler> MakeHandler(Call* call) override;
  Shard* HomeOf(Call* call, const wire::Buffer& first) override;
  void StartLine(Line* line);

  ServerOptions options_;
  grpc::AsyncGenericService generic_;
  Peers peers_;
  std::vector<std::unique_ptr<Line>> lines_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Acceptor> acceptor_;
  std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  std::atomic<uint32_t> streams_ = 0;
  std::atomic<bool> draining_ = false;
};

}  // namespace spillway::service
