#include "broker/service/server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <cassert>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "broker/base/thread_name.h"
#include "broker/runtime/shard_of.h"
#include "broker/service/reflection.h"
#include "broker/service/router.h"
#include "broker/service/session_handler.h"
#include "broker/service/unary.h"
#include "broker/service/watch.h"
#include "broker/session/consumer_session.h"
#include "broker/session/publisher_session.h"

namespace spillway::service {
namespace {

namespace pb = ::spillway::v1;
using runtime::Broker;

// Calls that may wait to be accepted while the shard is busy.
constexpr int kAcceptsPosted = 32;
constexpr int kKeepaliveTimeMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kMinPingIntervalMs = 10'000;
constexpr int kMaxMetadataBytes = 16 << 10;

using AdminFactory = std::unique_ptr<Handler> (*)(Call*);

template <auto kMethod, typename Request, typename Response>
std::unique_ptr<Handler> MakeUnary(Call* call) {
  return std::make_unique<UnaryHandler<Request, Response>>(call, kMethod);
}

// The unary methods of Admin, by name.
const absl::flat_hash_map<std::string_view, AdminFactory>& AdminMethods() {
#define SPILLWAY_ADMIN(name) \
  { "/spillway.v1.Admin/" #name, &MakeUnary<&Broker::name, pb::name##Request, pb::name##Response> }
  static const auto* methods = new absl::flat_hash_map<std::string_view, AdminFactory>{
      SPILLWAY_ADMIN(CreateQueue),  SPILLWAY_ADMIN(UpdateQueue),  SPILLWAY_ADMIN(GetQueue),
      SPILLWAY_ADMIN(ListQueues),   SPILLWAY_ADMIN(DeleteQueue),  SPILLWAY_ADMIN(PurgeQueue),
      SPILLWAY_ADMIN(Peek),         SPILLWAY_ADMIN(ListGroups),   SPILLWAY_ADMIN(SeekGroup),
      SPILLWAY_ADMIN(DeleteGroup),  SPILLWAY_ADMIN(ListParked),   SPILLWAY_ADMIN(ReleaseParked),
      SPILLWAY_ADMIN(ListSessions), SPILLWAY_ADMIN(CloseSession), SPILLWAY_ADMIN(Explain),
  };
#undef SPILLWAY_ADMIN
  return *methods;
}

}  // namespace

Result<std::unique_ptr<Server>> Server::Create(const ServerOptions& options, Clock* clock) {
  auto server = std::unique_ptr<Server>(new Server());
  server->options_ = options;
  grpc::ServerBuilder builder;
  auto acceptor = Acceptor::Listen(options.accept);
  if (!acceptor) return std::move(acceptor.error());
  server->acceptor_ = std::move(*acceptor);
  auto connections = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  builder.RegisterAsyncGenericService(&server->generic_);
  builder.SetMaxReceiveMessageSize(options.max_frame_bytes);
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams_per_connection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  for (size_t i = 0; i < options.shards; ++i) {
    server->lines_.push_back(std::make_unique<Line>(&server->peers_, builder.AddCompletionQueue(),
                                                    clock, options.longest_poll));
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) {
    return Error{.kind = ErrorKind::kInternal, .message = "gRPC did not start"};
  }
  server->connections_ = std::move(connections);
  return server;
}

Server::~Server() { Stop(); }

void Server::Every(MonoNanos period, std::function<void(runtime::Broker*, const Now&)> f) {
  Line* first = lines_.front().get();
  first->shard.Every(period, [first, f = std::move(f)](const Now& now) { f(first->broker, now); });
}

void Server::Start(const std::vector<runtime::Broker*>& brokers) {
  assert(brokers.size() == lines_.size());
  for (size_t i = 0; i < lines_.size(); ++i) lines_[i]->broker = brokers[i];
  for (const auto& line : lines_) StartLine(line.get());
  acceptor_->Start(connections_);
}

void Server::StartLine(Line* line) {
  constexpr MonoNanos kHealthPeriod = 20 * kNanosPerMilli;
  line->shard.Every(kHealthPeriod, [this, line](const Now&) {
    line->health.Set(line->broker->ready() && !draining_ && !line->broker->failure());
  });
  line->shard.OnRound([line](MonoNanos round) {
    line->rounds.Add(static_cast<double>(round) / (1e3 * kNanosPerMilli));
  });
  constexpr MonoNanos kTellPeriod = 1'000 * kNanosPerMilli;
  line->shard.Every(kTellPeriod, [line](const Now&) {
    const std::lock_guard lock(line->mutex);
    line->rounds_told = line->rounds;
  });
  line->thread = std::thread([this, line] {
    NameThread("shard-" + std::to_string(line->shard.index()));
    for (int i = 0; i < kAcceptsPosted; ++i) Call::Accept(&generic_, &line->shard, this);
    line->shard.Run(line->broker);
  });
}

size_t Server::calls() const {
  size_t n = 0;
  for (const auto& line : lines_) n += line->shard.tended();
  return n;
}

Histogram Server::rounds() const {
  Histogram all(kSecondsBounds);
  for (const auto& line : lines_) {
    const std::lock_guard lock(line->mutex);
    all.Add(line->rounds_told);
  }
  return all;
}

std::array<uint64_t, Shard::kErrorKinds> Server::errors() const {
  std::array<uint64_t, Shard::kErrorKinds> all{};
  for (size_t kind = 0; kind < all.size(); ++kind) {
    for (const auto& line : lines_) all[kind] += line->shard.errors(kind);
  }
  return all;
}

void Server::OnShard(std::function<void(runtime::Broker*)> f) {
  runtime::Broker* broker = lines_.front()->broker;
  broker->Post([broker, f = std::move(f)] { f(broker); });
}

void Server::Drain(std::function<void()> done) {
  draining_ = true;
  for (const auto& line : lines_) {
    line->broker->Post([health = &line->health] { health->Set(false); });
  }
  OnShard([done = std::move(done)](runtime::Broker* broker) { broker->Drain(done); });
}

void Server::Stop() {
  if (server_ == nullptr) return;
  // The shards' threads go on polling meanwhile, so that calls can end.
  acceptor_->Stop();
  constexpr std::chrono::milliseconds kGrace(100);
  server_->Shutdown(std::chrono::system_clock::now() + kGrace);
  for (const auto& line : lines_) {
    if (line->thread.joinable()) {
      line->shard.Stop();
    } else {
      line->shard.queue()->Shutdown();
    }
  }
  for (const auto& line : lines_) {
    if (line->thread.joinable()) {
      line->thread.join();
      continue;
    }
    void* tag = nullptr;
    bool ok = false;
    while (line->shard.queue()->Next(&tag, &ok)) {
    }
  }
  server_.reset();
}

Shard* Server::HomeOf(Call* call, const wire::Buffer& first) {
  if (lines_.size() == 1) return call->shard();
  const std::string queue = QueueNamedBy(call->method(), first);
  if (queue.empty()) return call->shard();
  return &lines_[runtime::ShardOf(queue, lines_.size())]->shard;
}

std::unique_ptr<Handler> Server::MakeHandler(Call* call) {
  const std::string& method = call->method();
  const bool publish = method == "/spillway.v1.Broker/Publish";
  if (publish || method == "/spillway.v1.Broker/Consume") {
    if (streams_ >= options_.max_streams) {
      call->Finish(Error{.kind = ErrorKind::kLimitReached,
                         .message = "the broker has as many streams as it takes",
                         .limit = options_.max_streams,
                         .retry_after_ms = 1000});
      return nullptr;
    }
    if (publish) {
      return std::make_unique<SessionHandler<session::PublisherSession>>(call, options_.session,
                                                                         &streams_);
    }
    return std::make_unique<SessionHandler<session::ConsumerSession>>(call, options_.session,
                                                                      &streams_);
  }
  const auto admin = AdminMethods().find(method);
  if (admin != AdminMethods().end()) return admin->second(call);
  if (method == "/spillway.v1.Admin/Watch") return MakeWatch(call);
  Health& health = lines_[call->shard()->index()]->health;
  if (method == "/grpc.health.v1.Health/Check") return health.MakeCheck(call);
  if (method == "/grpc.health.v1.Health/Watch") return health.MakeWatch(call);
  if (method == "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo" ||
      method == "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo") {
    return MakeReflection(call);
  }
  return nullptr;
}

}  // namespace spillway::service
