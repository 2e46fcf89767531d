// A server of several shards: streams and calls get to the shard of their queue from
// any connection, and all of it ends in order.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/service/test_server.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace spillway::service {
namespace {

std::string QueueName(int i) { return "q" + std::to_string(100 + i); }

// A server of `shards`, and a few connections to it that take turns.
class ShardedServer : public TestServer {
 public:
  explicit ShardedServer(size_t shards, int connections = 3)
      : TestServer(true, ServerOptions{.shards = shards}) {
    for (int i = 0; i < connections; ++i) {
      channels_.push_back(Connect());
      brokers_.push_back(pb::Broker::NewStub(channels_.back()));
      admins_.push_back(pb::Admin::NewStub(channels_.back()));
    }
  }
  pb::Broker::Stub* broker(int i) { return brokers_[Turn(i)].get(); }
  pb::Admin::Stub* admin(int i) { return admins_[Turn(i)].get(); }
  const std::shared_ptr<grpc::Channel>& channel(int i) { return channels_[Turn(i)]; }

 private:
  size_t Turn(int i) const { return static_cast<size_t>(i) % channels_.size(); }
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<std::unique_ptr<pb::Broker::Stub>> brokers_;
  std::vector<std::unique_ptr<pb::Admin::Stub>> admins_;
};

template <typename Response, typename Request, typename Method>
Response Ask(pb::Admin::Stub* admin, Method method, const Request& request,
             grpc::StatusCode code = grpc::StatusCode::OK) {
  grpc::ClientContext context;
  Response response;
  EXPECT_EQ((admin->*method)(&context, request, &response).error_code(), code)
      << request.ShortDebugString();
  return response;
}

// Ends the connections under the client's feet.
void CutConnections(int port) {
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) continue;
    if (peer.sin_family == AF_INET && ntohs(peer.sin_port) == port) shutdown(fd, SHUT_RDWR);
  }
}

pb::PublishRequest Numbered(uint64_t sequence, int records) {
  pb::PublishRequest request = PublishStream::Batch(sequence, records);
  for (int i = 0; i < records; ++i) {
    request.mutable_publish()->mutable_records(i)->set_payload(
        std::to_string(sequence + static_cast<uint64_t>(i)));
  }
  return request;
}

// Publishes batch after batch, each once the one before is confirmed, until `go_on`
// says no or the stream ends; returns how many records were confirmed.
uint64_t PublishWhile(PublishStream& publisher, const std::function<bool()>& go_on) {
  constexpr int kRecords = 5;
  uint64_t confirmed = 0;
  while (go_on() && publisher.Send(Numbered(confirmed + 1, kRecords))) {
    const uint64_t sent = confirmed + kRecords;
    while (confirmed < sent) {
      const auto frame = publisher.ReadPastGrants();
      if (!frame) return confirmed;
      for (const auto& run : frame->confirm().runs()) {
        EXPECT_EQ(run.first_sequence(), confirmed + 1);
        EXPECT_EQ(run.first_offset(), confirmed);
        confirmed += run.count();
      }
    }
  }
  return confirmed;
}

// Reads and settles this many records, each once and in order.
void Consume(ConsumeStream& consumer, uint64_t records) {
  uint64_t next = 0;
  while (next < records) {
    const auto frame = consumer.Read();
    ASSERT_TRUE(frame);
    pb::ConsumeRequest settle;
    settle.mutable_settle()->set_action(pb::SETTLE_ACTION_ACK);
    for (const auto& run : frame->delivery().runs()) {
      EXPECT_EQ(run.first_offset(), next);
      EXPECT_EQ(run.attempt(), 1u);
      pb::OffsetRange* range = settle.mutable_settle()->add_ranges();
      range->set_first_offset(run.first_offset());
      range->set_count(run.count());
      next += run.count();
    }
    const int count = frame->delivery().records_size();
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(frame->delivery().records(i).payload(),
                std::to_string(next - static_cast<uint64_t>(count - i) + 1));
    }
    if (count > 0) {
      ASSERT_TRUE(consumer.Send(settle));
    }
  }
}

class Shards : public ::testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(OfSeveral, Shards, ::testing::Values(2, 3));

TEST_P(Shards, StreamsOfManyQueuesShareFewConnections) {
  constexpr int kQueues = 12;
  static constexpr uint64_t kRecords = 500;
  ShardedServer server(GetParam());
  std::vector<std::thread> clients;
  for (int q = 0; q < kQueues; ++q) {
    clients.emplace_back([&server, q] {
      ConsumeStream consumer(server.broker(q + 1));
      consumer.Open(QueueName(q));
      Consume(consumer, kRecords);
    });
    clients.emplace_back([&server, q] {
      PublishStream publisher(server.broker(q));
      publisher.Open(QueueName(q));
      int batches = 0;
      EXPECT_EQ(PublishWhile(publisher, [&] { return batches++ < 100; }), kRecords);
      pb::PublishRequest close;
      close.mutable_close();
      publisher.Send(close);
      EXPECT_EQ(publisher.End().kind(), pb::ERROR_KIND_UNSPECIFIED);
      EXPECT_TRUE(publisher.status().ok());
    });
  }
  for (std::thread& client : clients) client.join();
  for (int q = 0; q < kQueues; ++q) {
    pb::GetQueueRequest get;
    get.set_name(QueueName(q));
    const auto got = Ask<pb::GetQueueResponse>(server.admin(q), &pb::Admin::Stub::GetQueue, get);
    EXPECT_EQ(got.queue().stats().tail_offset(), kRecords);
  }
}

TEST_P(Shards, AStreamMovesWhileItsPeerCancels) {
  ShardedServer server(GetParam());
  const auto sessions = [&] {
    return Ask<pb::ListSessionsResponse>(server.admin(0), &pb::Admin::Stub::ListSessions,
                                         pb::ListSessionsRequest())
        .sessions_size();
  };
  EXPECT_EQ(sessions(), 0);
  const size_t before = server.server_->calls();
  for (int i = 0; i < 300; ++i) {
    PublishStream publisher(server.broker(i));
    pb::PublishRequest open;
    open.mutable_open()->set_protocol(1);
    open.mutable_open()->set_queue(QueueName(i % 20));
    publisher.Send(open);
    // At once, soon, or once it is open.
    if (i % 3 == 1) std::this_thread::yield();
    if (i % 3 == 2) {
      EXPECT_TRUE(publisher.Read());
    }
    if (i % 2 == 0) publisher.Send(PublishStream::Batch(1, 3));
    publisher.Cancel();
  }
  EXPECT_TRUE(Eventually([&] { return sessions() == 0; }));
  EXPECT_TRUE(Eventually([&] { return server.server_->calls() <= before; }))
      << server.server_->calls() << " calls, not " << before;
}

TEST_P(Shards, AdminAnswersOnEveryConnection) {
  using Admin = pb::Admin::Stub;
  constexpr int kQueues = 12;
  ShardedServer server(GetParam());
  std::vector<std::string> names;
  for (int q = 0; q < kQueues; ++q) {
    names.push_back(QueueName(q));
    pb::CreateQueueRequest create;
    create.set_name(names.back());
    Ask<pb::CreateQueueResponse>(server.admin(q), &Admin::CreateQueue, create);
    Ask<pb::CreateQueueResponse>(server.admin(q + 1), &Admin::CreateQueue, create,
                                 grpc::StatusCode::ALREADY_EXISTS);
  }
  std::vector<std::unique_ptr<PublishStream>> publishers;
  std::vector<std::string> sessions;
  for (int q = 0; q < kQueues; ++q) {
    publishers.push_back(std::make_unique<PublishStream>(server.broker(q)));
    sessions.push_back(publishers.back()->Open(names[static_cast<size_t>(q)]).session());
    ASSERT_TRUE(publishers.back()->Send(PublishStream::Batch(1, 3)));
    ASSERT_TRUE(publishers.back()->ReadPastGrants());
  }
  for (int c = 0; c < 3; ++c) {
    std::vector<std::string> listed;
    pb::ListQueuesRequest list;
    list.set_page_size(5);
    do {
      const auto page = Ask<pb::ListQueuesResponse>(server.admin(c), &Admin::ListQueues, list);
      for (const auto& queue : page.queues()) listed.push_back(queue.name());
      list.set_page_token(page.next_page_token());
    } while (!list.page_token().empty());
    EXPECT_EQ(listed, names);
    for (const std::string& name : names) {
      pb::PeekRequest peek;
      peek.set_queue(name);
      EXPECT_EQ(Ask<pb::PeekResponse>(server.admin(c), &Admin::Peek, peek).records_size(), 3);
      pb::ListSessionsRequest of;
      of.set_queue(name);
      EXPECT_EQ(
          Ask<pb::ListSessionsResponse>(server.admin(c), &Admin::ListSessions, of).sessions_size(),
          1);
    }
    EXPECT_EQ(Ask<pb::ListSessionsResponse>(server.admin(c), &Admin::ListSessions,
                                            pb::ListSessionsRequest())
                  .sessions_size(),
              kQueues);
    for (const std::string& queue : {names[0], names[1], std::string()}) {
      grpc::ClientContext context;
      pb::WatchRequest request;
      request.set_queue(queue);
      request.set_interval_ms(100);
      auto watch = server.admin(c)->Watch(&context, request);
      pb::WatchResponse seen;
      for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(watch->Read(&seen));
        EXPECT_EQ(seen.queues_size(), queue.empty() ? kQueues : 1);
        EXPECT_EQ(seen.broker().sessions(), static_cast<uint32_t>(kQueues));
      }
      context.TryCancel();
      watch->Finish();
    }
  }
  for (int q = 0; q < kQueues; ++q) {
    pb::ExplainRequest explain;
    explain.set_session(sessions[static_cast<size_t>(q)]);
    Ask<pb::ExplainResponse>(server.admin(q + 1), &Admin::Explain, explain);
    explain.set_queue(names[static_cast<size_t>(q)]);
    Ask<pb::ExplainResponse>(server.admin(q + 2), &Admin::Explain, explain);
    pb::CloseSessionRequest close;
    close.set_id(sessions[static_cast<size_t>(q)]);
    Ask<pb::CloseSessionResponse>(server.admin(q + 1), &Admin::CloseSession, close);
    publishers[static_cast<size_t>(q)]->End();
    EXPECT_FALSE(publishers[static_cast<size_t>(q)]->status().ok());
    Ask<pb::CloseSessionResponse>(server.admin(q), &Admin::CloseSession, close,
                                  grpc::StatusCode::NOT_FOUND);
    pb::DeleteQueueRequest gone;
    gone.set_name(names[static_cast<size_t>(q)]);
    Ask<pb::DeleteQueueResponse>(server.admin(q + 2), &Admin::DeleteQueue, gone);
    Ask<pb::DeleteQueueResponse>(server.admin(q), &Admin::DeleteQueue, gone,
                                 grpc::StatusCode::NOT_FOUND);
  }
}

// Clients that publish and consume until they are stopped; they count what was
// confirmed.
class Load {
 public:
  Load(ShardedServer& server, int queues, int first = 0) {
    for (int q = first; q < first + queues; ++q) {
      threads_.emplace_back([this, &server, q] { Publish(server.broker(q), QueueName(q)); });
      consumers_.push_back(std::make_unique<ConsumeStream>(server.broker(q + 1)));
      threads_.emplace_back([consumer = consumers_.back().get(), q] { Read(*consumer, q); });
    }
    // All of them: who begins after a stop would wait long for a connection.
    EXPECT_TRUE(Eventually([&] { return opened_ == queues && batches_ > 10 * queues; }));
  }
  ~Load() { Stop(); }
  uint64_t Stop() {
    stop_ = true;
    for (const auto& consumer : consumers_) consumer->Cancel();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return confirmed_;
  }

 private:
  void Publish(pb::Broker::Stub* broker, const std::string& queue) {
    PublishStream publisher(broker);
    pb::PublishRequest open;
    open.mutable_open()->set_protocol(1);
    open.mutable_open()->set_queue(queue);
    if (!publisher.Send(open) || !publisher.Read()) return;
    ++opened_;
    confirmed_ += PublishWhile(publisher, [this] {
      ++batches_;
      return !stop_;
    });
    pb::PublishRequest close;
    close.mutable_close();
    publisher.Send(close);
    publisher.End();
  }
  static void Read(ConsumeStream& consumer, int q) {
    pb::ConsumeRequest open;
    open.mutable_open()->set_protocol(1);
    open.mutable_open()->set_queue(QueueName(q));
    open.mutable_open()->mutable_group()->set_group("g");
    open.mutable_open()->mutable_limit()->set_messages(1'000'000);
    open.mutable_open()->mutable_limit()->set_bytes(1 << 30);
    consumer.Send(open);
    while (consumer.Read()) {
    }
  }

  std::atomic<bool> stop_ = false;
  std::atomic<int> opened_ = 0;
  std::atomic<int> batches_ = 0;
  std::atomic<uint64_t> confirmed_ = 0;
  std::vector<std::unique_ptr<ConsumeStream>> consumers_;
  std::vector<std::thread> threads_;
};

TEST_P(Shards, ADrainUnderLoadReachesEverybody) {
  constexpr int kQueues = 8;
  ShardedServer server(GetParam());
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<grpc::health::v1::HealthCheckResponse>>> watches;
  grpc::health::v1::HealthCheckResponse response;
  for (int c = 0; c < 3; ++c) {
    auto health = grpc::health::v1::Health::NewStub(server.channel(c));
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    watches.push_back(health->Watch(contexts.back().get(), {}));
    do {
      ASSERT_TRUE(watches.back()->Read(&response));
    } while (response.status() != grpc::health::v1::HealthCheckResponse::SERVING);
  }
  Load load(server, kQueues);
  const auto drained = std::make_shared<std::atomic<bool>>(false);
  server.server_->Drain([drained] { *drained = true; });
  for (auto& watch : watches) {
    ASSERT_TRUE(watch->Read(&response));
    EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  }
  const uint64_t confirmed = load.Stop();
  EXPECT_TRUE(Eventually([&] { return drained->load(); }));
  uint64_t stored = 0;
  const auto listed = Ask<pb::ListQueuesResponse>(server.admin(1), &pb::Admin::Stub::ListQueues,
                                                  pb::ListQueuesRequest());
  for (const auto& queue : listed.queues()) stored += queue.stats().tail_offset();
  EXPECT_EQ(stored, confirmed);
  for (size_t c = 0; c < watches.size(); ++c) {
    contexts[c]->TryCancel();
    watches[c]->Finish();
  }
}

TEST_P(Shards, AStopUnderLoadEndsEverything) {
  for (int i = 0; i < 5; ++i) {
    ShardedServer server(GetParam());
    Load load(server, 8);
    server.Stop();
    EXPECT_GT(load.Stop(), 0u);
  }
}

TEST_P(Shards, ConnectionsAreCutUnderLoad) {
  ShardedServer server(GetParam());
  const size_t before = server.server_->calls();
  for (int i = 0; i < 5; ++i) {
    Load load(server, 8, 8 * i);
    CutConnections(server.server_->port());
    load.Stop();
  }
  EXPECT_TRUE(Eventually([&] { return server.server_->calls() <= before; }));
  PublishStream publisher(server);
  EXPECT_EQ(publisher.Open("again").protocol(), 1u);
}

}  // namespace
}  // namespace spillway::service
