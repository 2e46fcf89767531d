#include "broker/service/server.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <atomic>

#include <memory>
#include <string>
#include <vector>

#include "broker/service/test_server.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"

namespace spillway::service {
namespace {

TEST(Server, PublishesAndDeliversOverAChannel) {
  TestServer server;
  PublishStream publisher(server);
  EXPECT_EQ(publisher.Open("q").heartbeat_ms(), 5000u);
  ConsumeStream consumer(server);
  consumer.Open("q");
  // Small frames are copied, large ones lent; both arrive whole.
  uint64_t sequence = 1;
  for (const size_t payload : {3u, 100u, 5'000u, 100'000u}) {
    ASSERT_TRUE(publisher.Send(PublishStream::Batch(sequence, 7, payload)));
    const auto confirm = publisher.ReadPastGrants();
    ASSERT_TRUE(confirm && confirm->has_confirm());
    EXPECT_EQ(confirm->confirm().runs(0).first_sequence(), sequence);
    EXPECT_EQ(confirm->confirm().runs(0).count(), 7u);
    const auto delivery = consumer.Read();
    ASSERT_TRUE(delivery && delivery->has_delivery());
    ASSERT_EQ(delivery->delivery().records_size(), 7);
    EXPECT_EQ(delivery->delivery().records(6).payload(), std::string(payload, 'x'));
    sequence += 7;
  }
  pb::PublishRequest close;
  close.mutable_close();
  publisher.Send(close);
  EXPECT_EQ(publisher.End().kind(), pb::ERROR_KIND_UNSPECIFIED);
  EXPECT_TRUE(publisher.status().ok());
}

TEST(Server, AdminAnswersAndErrorsCarryTheirTrailer) {
  TestServer server;
  pb::CreateQueueRequest create;
  create.set_name("orders");
  pb::CreateQueueResponse created;
  grpc::ClientContext first;
  ASSERT_TRUE(server.admin_->CreateQueue(&first, create, &created).ok());
  EXPECT_EQ(created.queue().name(), "orders");

  pb::GetQueueRequest get;
  get.set_name("nope");
  pb::GetQueueResponse got;
  grpc::ClientContext second;
  const grpc::Status status = server.admin_->GetQueue(&second, get, &got);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ErrorOf(second).kind(), pb::ERROR_KIND_NOT_FOUND);
  EXPECT_EQ(ErrorOf(second).queue(), "nope");
}

TEST(Server, WatchRepeats) {
  TestServer server;
  pb::WatchRequest request;
  request.set_interval_ms(100);
  grpc::ClientContext context;
  auto reader = server.admin_->Watch(&context, request);
  pb::WatchResponse response;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(reader->Read(&response));
  context.TryCancel();
  reader->Finish();

  request.set_interval_ms(1);
  grpc::ClientContext bad;
  auto refused = server.admin_->Watch(&bad, request);
  EXPECT_FALSE(refused->Read(&response));
  EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ErrorOf(bad).field(), "interval_ms");
}

// A watcher that goes away takes its call with it, although it had half-closed and
// nothing is being written to it.
TEST(Server, WatchersThatLeaveAreForgotten) {
  TestServer server;
  auto health = grpc::health::v1::Health::NewStub(server.channel_);
  const auto calls = [&] {
    size_t n = 0;
    server.OnShard([&] { n = server.server_->calls(); });
    return n;
  };
  const size_t before = calls();
  for (int i = 0; i < 10; ++i) {
    grpc::ClientContext watching;
    pb::WatchRequest request;
    request.set_interval_ms(60'000);
    auto reader = server.admin_->Watch(&watching, request);
    pb::WatchResponse response;
    ASSERT_TRUE(reader->Read(&response));
    grpc::ClientContext waiting;
    auto state = health->Watch(&waiting, {});
    grpc::health::v1::HealthCheckResponse serving;
    ASSERT_TRUE(state->Read(&serving));
    EXPECT_GE(calls(), before + 2);
    watching.TryCancel();
    waiting.TryCancel();
    reader->Finish();
    state->Finish();
  }
  EXPECT_TRUE(Eventually([&] { return calls() <= before; })) << calls() << " calls, not " << before;
}

TEST(Server, HealthFollowsTheBroker) {
  using grpc::health::v1::HealthCheckResponse;
  TestServer server;
  auto stub = grpc::health::v1::Health::NewStub(server.channel_);
  auto check = [&](const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    HealthCheckResponse response;
    request.set_service(service);
    const grpc::Status status = stub->Check(&context, request, &response);
    return status.ok() ? static_cast<int>(response.status()) : -1;
  };
  grpc::ClientContext watching;
  auto watch = stub->Watch(&watching, {});
  HealthCheckResponse response;
  do {
    ASSERT_TRUE(watch->Read(&response));
  } while (response.status() != HealthCheckResponse::SERVING);
  EXPECT_EQ(check(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(check("spillway.v1.Broker"), HealthCheckResponse::SERVING);
  EXPECT_EQ(check("nope"), -1);
  server.OnShard([&] { server.fake_.is_ready = false; });
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(check(""), HealthCheckResponse::NOT_SERVING);
  watching.TryCancel();
  watch->Finish();
}

TEST(Server, ReflectionListsAndDescribes) {
  TestServer server;
  auto stub = grpc::reflection::v1::ServerReflection::NewStub(server.channel_);
  grpc::ClientContext context;
  auto stream = stub->ServerReflectionInfo(&context);
  grpc::reflection::v1::ServerReflectionRequest request;
  grpc::reflection::v1::ServerReflectionResponse response;
  request.set_list_services("");
  stream->Write(request);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.list_services_response().service_size(), 4);
  request.set_file_containing_symbol("spillway.v1.Broker");
  stream->Write(request);
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_GT(response.file_descriptor_response().file_descriptor_proto_size(), 3);
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(Server, DrainIsToldInBandAndInHealth) {
  TestServer server;
  PublishStream publisher(server);
  publisher.Open("q");
  const auto drained = std::make_shared<std::atomic<bool>>(false);
  server.server_->Drain([drained] { *drained = true; });
  const auto frame = publisher.ReadPastGrants();
  ASSERT_TRUE(frame && frame->has_drain());
  EXPECT_EQ(frame->drain().reconnect_after_ms(), 100u);
  EXPECT_TRUE(Eventually([&] { return drained->load(); }));
}

TEST(Server, AStreamThatIsCancelledIsADisconnect) {
  TestServer server;
  {
    PublishStream publisher(server);
    publisher.Open("q");
    ConsumeStream consumer(server);
    consumer.Open("q");
  }
  EXPECT_TRUE(Eventually([&] {
    size_t left = 0;
    server.OnShard([&] { left = server.fake_.publishers() + server.fake_.consumers(); });
    return left == 0;
  }));
}

TEST(Server, RefusesMoreStreamsThanItTakes) {
  ServerOptions options;
  options.max_streams = 1;
  TestServer server(false, options);
  PublishStream first(server);
  first.Open("q");
  PublishStream second(server);
  const pb::Error error = second.End();
  EXPECT_EQ(error.kind(), pb::ERROR_KIND_LIMIT_REACHED);
  EXPECT_EQ(error.limit(), 1u);
}

TEST(Server, RefusesAnAddressThatIsTaken) {
  TestServer server;
  ServerOptions options;
  options.accept.listen = "127.0.0.1:" + std::to_string(server.server_->port());
  RealClock clock;
  const auto second = Server::Create(options, &clock);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().field, "listen");
}

// Connects without a word; whether the server keeps the connection.
bool Kept(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  char byte = 0;
  // gRPC greets with its settings; a refused connection just ends.
  const bool kept = recv(fd, &byte, 1, 0) == 1;
  close(fd);
  return kept;
}

TEST(Server, CapsConnectionsAndTakesThemAgain) {
  ServerOptions options;
  options.accept.max_connections_per_address = 2;
  TestServer server(false, options);
  PublishStream first(server);
  first.Open("q");
  grpc::ChannelArguments arguments = TestServer::Arguments();
  const std::string address = "127.0.0.1:" + std::to_string(server.server_->port());
  auto second = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  ASSERT_TRUE(second->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(5)));
  EXPECT_EQ(server.server_->connections(), 2u);
  EXPECT_FALSE(Kept(server.server_->port()));
  second.reset();
  EXPECT_TRUE(Eventually([&] { return Kept(server.server_->port()); }));
}

TEST(Server, OutlivesALackOfDescriptors) {
  TestServer server;
  std::vector<int> hogs;
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit low = before;
  low.rlim_cur = 256;
  setrlimit(RLIMIT_NOFILE, &low);
  // One is left for the test's own socket, none for the server's. Threads of gRPC may
  // still close what they had: while the server keeps a connection, more is taken.
  bool kept = true;
  const auto refused = [&] {
    if (kept) {
      for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) hogs.push_back(fd);
      close(hogs.back());
      hogs.pop_back();
    }
    kept = Kept(server.server_->port());
    return !kept;
  };
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Eventually(refused));
  for (const int fd : hogs) close(fd);
  setrlimit(RLIMIT_NOFILE, &before);
  PublishStream publisher(server);
  EXPECT_EQ(publisher.Open("q").protocol(), 1u);
}

TEST(Server, StopsWithStreamsOpen) {
  TestServer server;
  PublishStream publisher(server);
  publisher.Open("q");
  ConsumeStream consumer(server);
  consumer.Open("q");
  server.Stop();
  publisher.End();
  EXPECT_FALSE(publisher.status().ok());
}

}  // namespace
}  // namespace spillway::service
