// What a peer may send that it must not: each class over a real channel, each
// answered by its typed error, none of it hurting the others.
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "broker/service/test_server.h"

namespace spillway::service {
namespace {

grpc::ByteBuffer Message(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

// Any bytes to any method; what the broker said at the end.
class RawStream {
 public:
  RawStream(TestServer& server, const std::string& method) : stub_(server.channel_) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    call_ = stub_.PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    Wait();
  }
  ~RawStream() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  bool Send(const std::string& bytes) {
    call_->Write(Message(bytes), this);
    return Wait();
  }
  bool Read(grpc::ByteBuffer* message) {
    call_->Read(message, this);
    return Wait();
  }
  void HalfClose() {
    call_->WritesDone(this);
    Wait();
  }
  pb::Error End() {
    grpc::ByteBuffer message;
    while (Read(&message)) {
    }
    call_->Finish(&status_, this);
    Wait();
    return ErrorOf(context_);
  }
  const grpc::Status& status() const { return status_; }

 private:
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  grpc::Status status_;
};

constexpr char kPublish[] = "/spillway.v1.Broker/Publish";
constexpr char kConsume[] = "/spillway.v1.Broker/Consume";

std::string OpenPublish(const std::string& queue = "q") {
  pb::PublishRequest request;
  request.mutable_open()->set_protocol(1);
  request.mutable_open()->set_queue(queue);
  request.mutable_open()->set_producer_id("p");
  return request.SerializeAsString();
}

std::string OpenConsume() {
  pb::ConsumeRequest request;
  request.mutable_open()->set_protocol(1);
  request.mutable_open()->set_queue("q");
  request.mutable_open()->mutable_group()->set_group("g");
  request.mutable_open()->mutable_limit()->set_messages(1000);
  request.mutable_open()->mutable_limit()->set_bytes(1 << 20);
  return request.SerializeAsString();
}

// A healthy producer is served whatever the others did.
void ExpectHealthy(TestServer& server) {
  PublishStream publisher(server);
  const uint64_t next = publisher.Open("healthy", "h").next_sequence();
  ASSERT_TRUE(publisher.Send(PublishStream::Batch(next, 3)));
  const auto confirm = publisher.ReadPastGrants();
  ASSERT_TRUE(confirm && confirm->has_confirm());
}

struct Case {
  const char* name;
  const char* method;
  std::vector<std::string> frames;
  pb::ErrorKind kind;
  std::string field;
};

std::string Publish(uint64_t sequence, const std::function<void(pb::PublishBatch*)>& change) {
  pb::PublishRequest request = PublishStream::Batch(sequence, 1);
  change(request.mutable_publish());
  return request.SerializeAsString();
}

std::vector<Case> Cases() {
  constexpr auto kInvalid = pb::ERROR_KIND_INVALID_ARGUMENT;
  constexpr auto kLarge = pb::ERROR_KIND_TOO_LARGE;
  constexpr auto kProtocol = pb::ERROR_KIND_PROTOCOL;
  const std::string open = OpenPublish(), consume = OpenConsume();
  std::string deep;
  deep.append(500, '\x0b').append(500, '\x0c');
  auto settle = [](const std::function<void(pb::Settle*)>& change) {
    pb::ConsumeRequest request;
    request.mutable_settle()->add_ranges()->set_count(1);
    request.mutable_settle()->set_action(pb::SETTLE_ACTION_ACK);
    change(request.mutable_settle());
    return request.SerializeAsString();
  };
  auto grant = [](uint64_t epoch, uint64_t messages) {
    pb::ConsumeRequest request;
    request.mutable_grant()->set_epoch(epoch);
    request.mutable_grant()->mutable_limit()->set_messages(messages);
    return request.SerializeAsString();
  };
  return {
      {"garbage", kPublish, {"\xff\xfe\xfd garbage"}, kInvalid, "frame"},
      {"no frame", kPublish, {""}, kInvalid, "frame"},
      {"unknown frame", kConsume, {"\xfa\x06\x01x"}, kInvalid, "frame"},
      {"two opens in one frame", kPublish, {open + open}, kInvalid, "frame"},
      {"groups within groups", kPublish, {deep}, kInvalid, "frame"},
      {"queue not UTF-8", kPublish, {"\x0a\x04\x12\x02\xff\xfe"}, kInvalid, "open.queue"},
      {"queue is a path", kPublish, {OpenPublish("../../etc/passwd")}, kInvalid, "open.queue"},
      {"queue begins with a dot", kPublish, {OpenPublish(".q")}, kInvalid, "open.queue"},
      {"queue is long", kPublish, {OpenPublish(std::string(256, 'q'))}, kInvalid, "open.queue"},
      {"queue is empty", kPublish, {OpenPublish("")}, kInvalid, "open.queue"},
      {"publish before open", kPublish, {Publish(1, [](auto*) {})}, kProtocol, "publish"},
      {"open twice", kPublish, {open, open}, kProtocol, "open"},
      {"record cut", kPublish, {open, "\x12\x02\x7a\x05"}, kInvalid, "publish.records[0]"},
      {"header not UTF-8",
       kPublish,
       {open, std::string("\x12\x09\x7a\x07\x1a\x05\x0a\x03"
                          "a\xff"
                          "b",
                          11)},
       kInvalid,
       "publish.records[0].headers[0].name"},
      {"long key",
       kPublish,
       {open, Publish(1, [](auto* b) { b->mutable_records(0)->set_key(std::string(1025, 'k')); })},
       kLarge,
       "publish.records[0].key"},
      {"many headers",
       kPublish,
       {open, Publish(1,
                      [](auto* b) {
                        for (int i = 0; i < 65; ++i) {
                          b->mutable_records(0)->add_headers()->set_name("h");
                        }
                      })},
       kLarge,
       "publish.records[0].headers"},
      {"many records",
       kPublish,
       {open, Publish(1,
                      [](auto* b) {
                        for (int i = 0; i < 10'000; ++i) b->add_records();
                      })},
       kLarge,
       "publish.records"},
      {"big batch",
       kPublish,
       {open,
        Publish(1, [](auto* b) { b->add_records()->set_payload(std::string(1 << 20, 'x')); })},
       kLarge,
       "publish"},
      {"gap in sequence",
       kPublish,
       {open, Publish(7, [](auto*) {})},
       pb::ERROR_KIND_SEQUENCE_GAP,
       "publish.first_sequence"},
      {"settle before open", kConsume, {settle([](auto*) {})}, kProtocol, "settle"},
      {"settle without action",
       kConsume,
       {consume, settle([](auto* s) { s->clear_action(); })},
       kInvalid,
       "settle.action"},
      {"settle with unknown action",
       kConsume,
       {consume, settle([](auto* s) { s->set_action(static_cast<pb::SettleAction>(77)); })},
       kInvalid,
       "settle.action"},
      {"range past the end",
       kConsume,
       {consume, settle([](auto* s) { s->mutable_ranges(0)->set_first_offset(UINT64_MAX); })},
       kInvalid,
       "settle.ranges[0]"},
      {"grant of another epoch",
       kConsume,
       {consume, grant(123'456, 5000)},
       pb::ERROR_KIND_FENCED,
       "grant.epoch"},
  };
}

TEST(BadInput, EachClassGetsItsAnswer) {
  TestServer server(true);
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    RawStream stream(server, c.method);
    for (size_t i = 0; i < c.frames.size(); ++i) {
      stream.Send(c.frames[i]);
      // A frame after Open needs the lane's answer first.
      grpc::ByteBuffer message;
      if (i + 1 < c.frames.size()) {
        ASSERT_TRUE(stream.Read(&message));
      }
    }
    const pb::Error error = stream.End();
    EXPECT_EQ(error.kind(), c.kind)
        << error.ShortDebugString() << " " << stream.status().error_message();
    EXPECT_EQ(error.field(), c.field);
    EXPECT_FALSE(error.message().empty());
    EXPECT_FALSE(stream.status().ok());
  }
  ExpectHealthy(server);
  // Nothing was half applied.
  pb::GetQueueRequest get;
  get.set_name("q");
  pb::GetQueueResponse got;
  grpc::ClientContext context;
  ASSERT_TRUE(server.admin_->GetQueue(&context, get, &got).ok());
  EXPECT_EQ(got.queue().stats().tail_offset(), 0u);
}

TEST(BadInput, MoreThanTheCreditEndsTheStream) {
  TestServer server(true);
  pb::CreateQueueRequest create;
  create.set_name("small");
  create.mutable_tuning()->set_window_messages(10);
  pb::CreateQueueResponse created;
  grpc::ClientContext context;
  ASSERT_TRUE(server.admin_->CreateQueue(&context, create, &created).ok());
  PublishStream publisher(server);
  publisher.Open("small");
  ASSERT_TRUE(publisher.Send(PublishStream::Batch(1, 11)));
  EXPECT_EQ(publisher.End().kind(), pb::ERROR_KIND_CREDIT_EXCEEDED);
  EXPECT_EQ(publisher.status().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  ExpectHealthy(server);
}

TEST(BadInput, AnOldEpochIsFenced) {
  TestServer server(true);
  PublishStream old(server);
  old.Open("q", "p");
  PublishStream fresh(server);
  fresh.Open("q", "p");
  EXPECT_EQ(old.End().kind(), pb::ERROR_KIND_FENCED);
  EXPECT_EQ(old.status().error_code(), grpc::StatusCode::ABORTED);
}

TEST(BadInput, CountersThatDifferEndTheStream) {
  TestServer server(true);
  PublishStream publisher(server);
  pb::PublishRequest ping;
  ping.mutable_ping()->set_id(1);
  ping.mutable_ping()->set_epoch(publisher.Open("q").epoch());
  ping.mutable_ping()->mutable_sent()->set_messages(5);
  publisher.Send(ping);
  EXPECT_EQ(publisher.End().kind(), pb::ERROR_KIND_COUNTER_MISMATCH);
}

TEST(BadInput, AFrameLargerThanAnyIsRefusedUnread) {
  ServerOptions options;
  options.max_frame_bytes = 1 << 20;
  TestServer server(true, options);
  RawStream stream(server, kPublish);
  stream.Send(std::string(2 << 20, 'x'));
  stream.End();
  EXPECT_EQ(stream.status().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << stream.status().error_message();
  ExpectHealthy(server);
}

TEST(BadInput, SilenceBeforeOpenTimesOut) {
  ServerOptions options;
  options.session.open_timeout = 200 * kNanosPerMilli;
  TestServer server(true, options);
  RawStream stream(server, kPublish);
  EXPECT_EQ(stream.End().kind(), pb::ERROR_KIND_TIMED_OUT);
  EXPECT_EQ(stream.status().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(BadInput, SilenceAfterOpenTimesOut) {
  ServerOptions options;
  options.session.heartbeat = 50 * kNanosPerMilli;
  options.session.dead_after = 200 * kNanosPerMilli;
  TestServer server(true, options);
  PublishStream publisher(server);
  publisher.Open("q");
  EXPECT_EQ(publisher.End().kind(), pb::ERROR_KIND_TIMED_OUT);
}

TEST(BadInput, HalfCloseIsNotClose) {
  TestServer server(true);
  PublishStream publisher(server);
  publisher.Open("q");
  publisher.HalfClose();
  EXPECT_EQ(publisher.End().kind(), pb::ERROR_KIND_PROTOCOL);
}

TEST(BadInput, AReaderThatDoesNotReadIsDetached) {
  ServerOptions options;
  options.session.slow_reader_after = 300 * kNanosPerMilli;
  TestServer server(true, options);
  PublishStream publisher(server);
  publisher.Open("q");
  ConsumeStream slow(server);
  slow.Open("q");
  for (uint64_t i = 0; i < 30; ++i) {
    ASSERT_TRUE(publisher.Send(PublishStream::Batch(1 + i, 1, 1'000'000)));
    ASSERT_TRUE(publisher.ReadPastGrants());
  }
  // What it held goes to the next member at once.
  ConsumeStream next(server);
  next.Open("q");
  int records = 0;
  while (records < 30) {
    const auto frame = next.Read();
    ASSERT_TRUE(frame);
    if (frame->has_delivery()) records += frame->delivery().records_size();
  }
  slow.End();
  EXPECT_FALSE(slow.status().ok());
  ExpectHealthy(server);
}

TEST(BadInput, AdminRequestsAreCheckedToo) {
  TestServer server(true);
  struct {
    const char* method;
    std::string bytes;
    grpc::StatusCode code;
    const char* field;
  } cases[] = {
      {"/spillway.v1.Admin/CreateQueue", "\xff\xff", grpc::StatusCode::INVALID_ARGUMENT, "request"},
      {"/spillway.v1.Admin/CreateQueue", "\x0a\x02\xff\xfe", grpc::StatusCode::INVALID_ARGUMENT,
       "name"},
      {"/spillway.v1.Admin/CreateQueue",
       "\x0a\x03"
       "a/b",
       grpc::StatusCode::INVALID_ARGUMENT, "name"},
      {"/spillway.v1.Admin/GetQueue", "\x0a\x01z", grpc::StatusCode::NOT_FOUND, "name"},
      {"/spillway.v1.Admin/Nothing", "", grpc::StatusCode::UNIMPLEMENTED, ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.method);
    RawStream call(server, c.method);
    call.Send(c.bytes);
    call.HalfClose();
    const pb::Error error = call.End();
    EXPECT_EQ(call.status().error_code(), c.code) << call.status().error_message();
    EXPECT_EQ(error.field(), c.field);
  }
  // Two requests to a unary method; none at all.
  RawStream twice(server, "/spillway.v1.Admin/ListQueues");
  twice.Send("");
  twice.HalfClose();
  twice.End();
  EXPECT_TRUE(twice.status().ok());
  RawStream none(server, "/spillway.v1.Admin/ListQueues");
  none.HalfClose();
  EXPECT_EQ(none.End().kind(), pb::ERROR_KIND_PROTOCOL);
}

TEST(BadInput, AFloodOfPingsFromOneThatDoesNotRead) {
  TestServer server(true);
  PublishStream publisher(server);
  pb::PublishRequest ping;
  ping.mutable_ping()->set_id(1);
  ping.mutable_ping()->set_epoch(publisher.Open("q").epoch());
  // Until the broker ends the stream, or all of it was answered within its bounds.
  for (int i = 0; i < 200'000 && publisher.Send(ping); ++i) {
  }
  ExpectHealthy(server);
}

TEST(BadInput, StreamsThatComeAndGo) {
  TestServer server(true);
  for (int i = 0; i < 300; ++i) {
    RawStream stream(server, i % 2 == 0 ? kPublish : kConsume);
    if (i % 3 != 0) stream.Send(i % 2 == 0 ? OpenPublish() : OpenConsume());
    if (i % 5 == 0) stream.HalfClose();
  }
  ExpectHealthy(server);
}

}  // namespace
}  // namespace spillway::service
