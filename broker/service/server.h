// The broker's gRPC server: one port, one shard.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/server.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/base/clock.h"
#include "broker/base/error.h"
#include "broker/runtime/broker.h"
#include "broker/service/acceptor.h"
#include "broker/service/call.h"
#include "broker/service/health.h"
#include "broker/service/shard.h"
#include "broker/session/options.h"

namespace spillway::service {

struct ServerOptions {
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
// but the shard's own thread polls, and frames stay bytes until a handler reads
// them.
//
// Thread-safety: Wake and OnShard may be called on any thread; Start and Stop
// once each, in this order.
class Server {
 public:
  // Binds the address. The error says why not.
  static Result<std::unique_ptr<Server>> Create(const ServerOptions& options, Clock* clock);
  ~Server();

  // For BrokerOptions::wake.
  void Wake() { shard_->Wake(); }
  // Starts the shard's thread, which starts `broker`.
  void Start(runtime::Broker* broker);
  // Runs `f` on the shard's thread. REQUIRES: started.
  void OnShard(std::function<void(runtime::Broker*)> f);
  // Says NOT_SERVING, tells every session, and calls `done` (on the shard's
  // thread) when all that was credited is finished.
  void Drain(std::function<void()> done);
  // Waits a little for calls that are ending, cancels the rest, ends the thread.
  void Stop();
  // Calls `f` on the shard's thread about every `period`. REQUIRES: not started.
  void Every(MonoNanos period, std::function<void(runtime::Broker*, const Now&)> f);

  int port() const { return acceptor_->port(); }
  // Calls that are open or waited for. On the shard's thread.
  size_t calls() const { return shard_->tended(); }
  // Open connections.
  uint64_t connections() const { return acceptor_->connections(); }
  // Of each round; see Shard. REQUIRES: not started.
  void OnRound(std::function<void(MonoNanos)> f) { shard_->OnRound(std::move(f)); }
  // Errors that calls ended with, by kind. On the shard's thread.
  const Shard::ErrorCounts& errors() const { return shard_->errors(); }

 private:
  Server() = default;
  std::unique_ptr<Handler> MakeHandler(Call* call);
  void Run(runtime::Broker* broker);

  ServerOptions options_;
  grpc::AsyncGenericService generic_;
  HandlerFactory factory_;
  std::unique_ptr<Shard> shard_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Acceptor> acceptor_;
  std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> connections_;
  runtime::Broker* broker_ = nullptr;
  std::thread thread_;

  // On the shard's thread.
  Health health_;
  uint32_t streams_ = 0;
  bool draining_ = false;
};

}  // namespace spillway::service
