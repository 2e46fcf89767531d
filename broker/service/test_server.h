// A server in the test's process, over a fake broker or a real one, and the
// smallest of clients.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "broker/base/clock.h"
#include "broker/runtime/shards_of_tests.h"
#include "broker/service/server.h"
#include "broker/service/status.h"
#include "broker/session/fake_broker.h"
#include "broker/storage/memory_store.h"
#include "spillway/v1/admin.grpc.pb.h"
#include "spillway/v1/broker.grpc.pb.h"

namespace spillway::service {

namespace pb = ::spillway::v1;

// The error in a status's trailer.
inline pb::Error ErrorOf(const grpc::ClientContext& context) {
  pb::Error error;
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find(kErrorTrailer);
  if (it != trailers.end()) {
    EXPECT_TRUE(error.ParseFromArray(it->second.data(), static_cast<int>(it->second.size())));
  }
  return error;
}

// Waits for what another thread or process brings about; false after 30 seconds,
// which even a loaded machine does not need.
template <typename F>
bool Eventually(F holds) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

class TestServer {
 public:
  // A fake broker has one shard.
  explicit TestServer(bool real = false, ServerOptions options = {}) {
    if (real) options.shards = std::max(options.shards, runtime::ShardsOfTests());
    auto created = Server::Create(options, &clock_);
    EXPECT_TRUE(created.ok()) << (created.ok() ? "" : created.error().message);
    server_ = std::move(*created);
    if (real) {
      store_ = std::make_unique<storage::MemoryStore>(storage::MemoryOptions{.manual = false});
      real_ = runtime::Broker::CreateShards(
          {.store = store_.get(),
           .memory_budget_bytes = uint64_t{256} << 20,
           .auto_create = true,
           .disk_space =
               [] {
                 return std::pair<uint64_t, uint64_t>{1ull << 40, 1ull << 41};
               },
           .seed = 1},
          options.shards, [s = server_.get()](size_t shard) { s->Wake(shard); });
      std::vector<runtime::Broker*> brokers;
      brokers.reserve(real_.size());
      for (const auto& broker : real_) brokers.push_back(broker.get());
      server_->Start(brokers);
    } else {
      fake_.wake = [s = server_.get()] { s->Wake(); };
      server_->Start(&fake_);
    }
    channel_ = Connect();
    for (bool ready = false; real && !ready;) {
      OnShard([&] { ready = real_.front()->ready(); });
    }
    broker_ = pb::Broker::NewStub(channel_);
    admin_ = pb::Admin::NewStub(channel_);
  }
  ~TestServer() { Stop(); }
  void Stop() {
    server_->Stop();
    real_.clear();
  }

  // Runs `f` on the first shard's thread and waits for it.
  template <typename F>
  void OnShard(F f) {
    std::mutex mutex;
    std::condition_variable cv;
    bool done = false;
    server_->OnShard([&](runtime::Broker*) {
      f();
      const std::lock_guard lock(mutex);
      done = true;
      cv.notify_one();
    });
    std::unique_lock lock(mutex);
    cv.wait(lock, [&] { return done; });
  }

  // A connection of its own.
  std::shared_ptr<grpc::Channel> Connect() const {
    return grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->port()),
                                     grpc::InsecureChannelCredentials(), Arguments());
  }

  static grpc::ChannelArguments Arguments() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetMaxSendMessageSize(-1);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return arguments;
  }

  RealClock clock_;
  session::FakeBroker fake_;
  std::unique_ptr<storage::MemoryStore> store_;
  std::unique_ptr<Server> server_;
  std::vector<std::unique_ptr<runtime::Broker>> real_;  // one for each shard
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<pb::Broker::Stub> broker_;
  std::unique_ptr<pb::Admin::Stub> admin_;
};

// One stream of a client, used step by step.
template <typename Request, typename Response>
class TestStream {
 public:
  using Stream = grpc::ClientReaderWriter<Request, Response>;
  explicit TestStream(std::unique_ptr<Stream> (*open)(pb::Broker::Stub*, grpc::ClientContext*),
                      pb::Broker::Stub* stub) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    stream_ = open(stub, &context_);
  }
  ~TestStream() {
    context_.TryCancel();
    if (!finished_) stream_->Finish();
  }
  bool Send(const Request& request) { return stream_->Write(request); }
  // The next frame that is not a ping or a grant alone.
  std::optional<Response> Read() {
    Response response;
    if (!stream_->Read(&response)) return std::nullopt;
    return response;
  }
  // Reads to the end; the error that ended the stream, UNSPECIFIED if OK.
  pb::Error End() {
    Response response;
    while (stream_->Read(&response)) {
    }
    finished_ = true;
    status_ = stream_->Finish();
    return ErrorOf(context_);
  }
  void HalfClose() { stream_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }
  const grpc::Status& status() const { return status_; }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<Stream> stream_;
  grpc::Status status_;
  bool finished_ = false;
};

class PublishStream : public TestStream<pb::PublishRequest, pb::PublishResponse> {
 public:
  explicit PublishStream(TestServer& server) : PublishStream(server.broker_.get()) {}
  explicit PublishStream(pb::Broker::Stub* stub)
      : TestStream([](pb::Broker::Stub* s, grpc::ClientContext* c) { return s->Publish(c); },
                   stub) {}
  // Opens and reads what was granted; returns Opened.
  pb::PublishOpened Open(const std::string& queue, const std::string& producer = "") {
    pb::PublishRequest request;
    request.mutable_open()->set_protocol(1);
    request.mutable_open()->set_queue(queue);
    request.mutable_open()->set_producer_id(producer);
    EXPECT_TRUE(Send(request));
    std::optional<pb::PublishResponse> opened = Read();
    EXPECT_TRUE(opened && opened->has_opened());
    return opened ? opened->opened() : pb::PublishOpened();
  }
  static pb::PublishRequest Batch(uint64_t sequence, int records, size_t payload = 3) {
    pb::PublishRequest request;
    request.mutable_publish()->set_first_sequence(sequence);
    for (int i = 0; i < records; ++i) {
      request.mutable_publish()->add_records()->set_payload(std::string(payload, 'x'));
    }
    return request;
  }
  // Reads until something else than a grant comes.
  std::optional<pb::PublishResponse> ReadPastGrants() {
    std::optional<pb::PublishResponse> response;
    do {
      response = Read();
    } while (response && response->has_grant());
    return response;
  }
};

class ConsumeStream : public TestStream<pb::ConsumeRequest, pb::ConsumeResponse> {
 public:
  explicit ConsumeStream(TestServer& server) : ConsumeStream(server.broker_.get()) {}
  explicit ConsumeStream(pb::Broker::Stub* stub)
      : TestStream([](pb::Broker::Stub* s, grpc::ClientContext* c) { return s->Consume(c); },
                   stub) {}
  pb::ConsumeOpened Open(const std::string& queue, uint64_t messages = 1'000'000,
                         uint64_t bytes = uint64_t{1} << 40) {
    pb::ConsumeRequest request;
    request.mutable_open()->set_protocol(1);
    request.mutable_open()->set_queue(queue);
    request.mutable_open()->mutable_group()->set_group("g");
    request.mutable_open()->mutable_limit()->set_messages(messages);
    request.mutable_open()->mutable_limit()->set_bytes(bytes);
    EXPECT_TRUE(Send(request));
    std::optional<pb::ConsumeResponse> opened = Read();
    EXPECT_TRUE(opened && opened->has_opened());
    return opened ? opened->opened() : pb::ConsumeOpened();
  }
};

}  // namespace spillway::service
