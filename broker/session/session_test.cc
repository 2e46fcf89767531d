#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/session/consumer_session.h"
#include "broker/session/fake_broker.h"
#include "broker/session/publisher_session.h"
#include "broker/session/state.h"

namespace spillway::session {
namespace {

constexpr MonoNanos kSecond = 1'000 * kNanosPerMilli;

// A session with its carrier and broker, on a clock of the test's own.
template <typename Session, typename Request, typename Response>
class Rig : public Host {
 public:
  Rig() { Restart(); }
  void Restart() { session_ = std::make_unique<Session>(options_, &broker_, this, "test", now_); }
  void Dirty() override { ++dirty_; }

  void Send(const Request& request) { SendBytes(request.SerializeAsString()); }
  void SendBytes(const std::string& bytes) { session_->OnFrame(wire::Buffer::Copy(bytes), now_); }
  // A batch, and all that it leaves to write, written.
  std::vector<Response> Run() {
    broker_.RunBatch(now_);
    std::vector<Response> out;
    while (std::optional<Response> response = Next()) {
      out.push_back(*response);
      session_->OnWritten(now_);
    }
    return out;
  }
  // The next frame; its write stays outstanding.
  std::optional<Response> Next() {
    std::optional<OutFrame> frame = session_->NextFrame(now_);
    if (!frame) return std::nullopt;
    std::string bytes = frame->head;
    for (const wire::Slice& slice : frame->fields) bytes += slice.view();
    Response response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    more_ = frame->more;
    return response;
  }
  void Pass(MonoNanos time) {
    now_.mono += time;
    session_->Tick(now_);
  }
  ErrorKind kind() const {
    return session_->error() ? session_->error()->kind : ErrorKind::kUnspecified;
  }
  std::string field() const { return session_->error() ? session_->error()->field : ""; }

  SessionOptions options_;
  FakeBroker broker_;
  Now now_{.mono = kSecond, .unix_ms = 1};
  int dirty_ = 0;
  bool more_ = false;
  std::unique_ptr<Session> session_;
};

class PublisherRig : public Rig<PublisherSession, pb::PublishRequest, pb::PublishResponse> {
 public:
  static pb::PublishRequest OpenFrame() {
    pb::PublishRequest request;
    request.mutable_open()->set_protocol(1);
    request.mutable_open()->set_queue("q");
    return request;
  }
  static pb::PublishRequest PublishFrame(uint64_t sequence, int records = 1) {
    pb::PublishRequest request;
    request.mutable_publish()->set_first_sequence(sequence);
    for (int i = 0; i < records; ++i) request.mutable_publish()->add_records()->set_payload("abc");
    return request;
  }
  uint64_t Open() {
    Send(OpenFrame());
    const auto frames = Run();
    EXPECT_EQ(frames.size(), 2u);
    return frames.empty() ? 0 : frames[0].opened().epoch();
  }
};

class ConsumerRig : public Rig<ConsumerSession, pb::ConsumeRequest, pb::ConsumeResponse> {
 public:
  static pb::ConsumeRequest OpenFrame(uint64_t messages = 100) {
    pb::ConsumeRequest request;
    request.mutable_open()->set_protocol(1);
    request.mutable_open()->set_queue("q");
    request.mutable_open()->mutable_group()->set_group("g");
    request.mutable_open()->mutable_limit()->set_messages(messages);
    request.mutable_open()->mutable_limit()->set_bytes(1 << 20);
    return request;
  }
  uint64_t Open() {
    Send(OpenFrame());
    const auto frames = Run();
    EXPECT_GE(frames.size(), 1u);
    return frames.empty() ? 0 : frames[0].opened().epoch();
  }
  // Puts batches into the queue, as a producer would.
  void Fill(int batches, size_t payload = 3) {
    struct Ignore : runtime::PublisherSink {
      void OnOpened(const runtime::PublisherOpened&) override {}
      void OnConfirm(std::span<const runtime::ConfirmRun>, Durability,
                     const runtime::GrantOut*) override {}
      void OnGrant(const runtime::GrantOut&) override {}
      void OnRefuse(uint64_t, uint64_t, const Error&) override {}
      void OnTuning(uint64_t, const queue::Tuning&) override {}
      void OnDrain(const runtime::DrainOut&) override {}
      void OnClosed(const Error&) override {}
      void OnFinished() override {}
    } sink;
    const auto publisher = broker_.OpenPublisher({.queue = "q"}, &sink);
    for (int i = 0; i < batches; ++i) {
      pb::PublishRequest request;
      request.mutable_publish()->add_records()->set_payload(std::string(payload, 'x'));
      auto frame = wire::ScanPublish(wire::Buffer::Copy(request.SerializeAsString()), {});
      publisher->Publish(1, 0, std::move(frame->records));
    }
  }
};

TEST(State, EveryTransition) {
  using S = State;
  using E = Event;
  struct Row {
    S from;
    std::optional<S> open, data, live, close, opened;
  };
  const auto no = std::nullopt;
  const Row rows[] = {
      {S::kAwaitingOpen, S::kOpening, no, no, no, no},
      {S::kOpening, no, no, S::kOpening, S::kClosingEarly, S::kOpen},
      {S::kClosingEarly, no, no, S::kClosingEarly, no, S::kClosing},
      {S::kOpen, no, S::kOpen, S::kOpen, S::kClosing, no},
      {S::kClosing, no, no, S::kClosing, no, no},
      {S::kEnded, no, no, no, no, no},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(StateName(row.from));
    EXPECT_EQ(Next(row.from, E::kOpenFrame), row.open);
    EXPECT_EQ(Next(row.from, E::kDataFrame), row.data);
    EXPECT_EQ(Next(row.from, E::kLiveFrame), row.live);
    EXPECT_EQ(Next(row.from, E::kCloseFrame), row.close);
    EXPECT_EQ(Next(row.from, E::kOpened), row.opened);
    EXPECT_EQ(Next(row.from, E::kEnd), S::kEnded);
  }
}

TEST(Publisher, OpensPublishesConfirmsCloses) {
  PublisherRig rig;
  rig.Send(PublisherRig::OpenFrame());
  auto frames = rig.Run();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].opened().heartbeat_ms(), 5000u);
  EXPECT_EQ(frames[0].opened().max_batch_records(), 10'000u);
  EXPECT_EQ(frames[0].opened().tuning().window_bytes(), 1u << 20);
  EXPECT_EQ(frames[1].grant().limit().messages(), rig.broker_.publisher_limit.messages);

  rig.Send(PublisherRig::PublishFrame(1, 10));
  frames = rig.Run();
  ASSERT_EQ(frames.size(), 1u);
  ASSERT_EQ(frames[0].confirm().runs_size(), 1);
  EXPECT_EQ(frames[0].confirm().runs(0).count(), 10u);
  EXPECT_TRUE(frames[0].confirm().has_grant());

  pb::PublishRequest close;
  close.mutable_close();
  rig.Send(close);
  rig.session_->OnHalfClosed();
  EXPECT_TRUE(rig.Run().empty());
  EXPECT_TRUE(rig.session_->ended());
  EXPECT_FALSE(rig.session_->error());
  EXPECT_EQ(rig.broker_.publishers(), 0u);
}

TEST(Publisher, JoinsConfirmationsThatWait) {
  PublisherRig rig;
  rig.Open();
  rig.Send(PublisherRig::PublishFrame(1, 10));
  rig.broker_.RunBatch(rig.now_);
  ASSERT_TRUE(rig.Next());  // outstanding
  for (uint64_t sequence = 11; sequence < 61; sequence += 10) {
    rig.Send(PublisherRig::PublishFrame(sequence, 10));
    rig.broker_.RunBatch(rig.now_);
  }
  rig.session_->OnWritten(rig.now_);
  const auto frames = rig.Run();
  ASSERT_EQ(frames.size(), 1u);
  ASSERT_EQ(frames[0].confirm().runs_size(), 1);
  EXPECT_EQ(frames[0].confirm().runs(0).first_sequence(), 11u);
  EXPECT_EQ(frames[0].confirm().runs(0).count(), 50u);
  EXPECT_TRUE(frames[0].confirm().has_grant());
}

struct BadFrame {
  const char* name;
  std::string bytes;
  bool opened;
  ErrorKind kind;
  std::string field;
};

std::string Bytes(const google::protobuf::Message& message) { return message.SerializeAsString(); }

std::vector<BadFrame> BadPublisherFrames() {
  using R = pb::PublishRequest;
  std::vector<BadFrame> out;
  auto add = [&out](const char* name, bool opened, const R& request, ErrorKind kind,
                    std::string field) {
    out.push_back({name, Bytes(request), opened, kind, std::move(field)});
  };
  const auto invalid = ErrorKind::kInvalidArgument;
  R open = PublisherRig::OpenFrame();
  out.push_back({"garbage", "\xff\xff\xff", false, invalid, "frame"});
  out.push_back({"empty", "", false, invalid, "frame"});
  out.push_back({"unknown frame", "\xfa\x06\x01x", false, invalid, "frame"});
  out.push_back({"open twice in a frame", Bytes(open) + Bytes(open), false, invalid, "frame"});
  out.push_back({"open is no message", "\x0a\x02\x0a\x7f", false, invalid, "open"});
  out.push_back({"queue not UTF-8", "\x0a\x04\x12\x02\xff\xfe", false, invalid, "open.queue"});
  add("publish first", false, PublisherRig::PublishFrame(1), ErrorKind::kProtocol, "publish");
  add("open twice", true, open, ErrorKind::kProtocol, "open");
  R request = open;
  request.mutable_open()->set_protocol(2);
  add("protocol", false, request, ErrorKind::kUnsupported, "open.protocol");
  request = open;
  request.mutable_open()->set_queue("../etc");
  add("queue", false, request, invalid, "open.queue");
  request = open;
  request.mutable_open()->set_producer_id(".p");
  add("producer", false, request, invalid, "open.producer_id");
  request = open;
  request.mutable_open()->set_client(std::string(256, 'c'));
  add("client", false, request, ErrorKind::kTooLarge, "open.client");
  add("sequence 0", true, PublisherRig::PublishFrame(0), invalid, "publish.first_sequence");
  add("sequence wraps", true, PublisherRig::PublishFrame(UINT64_MAX), invalid,
      "publish.first_sequence");
  request = PublisherRig::PublishFrame(1);
  request.mutable_publish()->set_partition(1);
  add("partition", true, request, invalid, "publish.partition");
  request = PublisherRig::PublishFrame(1, 0);
  request.mutable_publish();
  add("no records", true, request, invalid, "publish.records");
  request = PublisherRig::PublishFrame(1, 2);
  request.mutable_publish()->mutable_records(0)->set_payload(std::string(1 << 20, 'x'));
  add("big batch", true, request, ErrorKind::kTooLarge, "publish");
  request.Clear();
  request.mutable_pong()->set_id(7);
  add("pong to nothing", true, request, ErrorKind::kProtocol, "pong.id");
  return out;
}

TEST(Publisher, RefusesBadFramesByName) {
  for (const BadFrame& bad : BadPublisherFrames()) {
    SCOPED_TRACE(bad.name);
    PublisherRig rig;
    if (bad.opened) rig.Open();
    rig.SendBytes(bad.bytes);
    EXPECT_EQ(rig.kind(), bad.kind)
        << (rig.session_->error() ? rig.session_->error()->message : "");
    EXPECT_EQ(rig.field(), bad.field);
    EXPECT_EQ(rig.broker_.publishers(), 0u);
    EXPECT_EQ(rig.broker_.published, 0u);
    EXPECT_TRUE(rig.session_->ended());
    rig.Run();
  }
}

TEST(Publisher, ASingleRecordMayBeLargerThanABatch) {
  PublisherRig rig;
  rig.Open();
  pb::PublishRequest request = PublisherRig::PublishFrame(1);
  request.mutable_publish()->mutable_records(0)->set_payload(std::string(2 << 20, 'x'));
  rig.Send(request);
  EXPECT_EQ(rig.broker_.published, 1u);
  EXPECT_EQ(rig.Run().size(), 1u);
}

TEST(Publisher, PingComparesCounters) {
  PublisherRig rig;
  const uint64_t epoch = rig.Open();
  rig.Send(PublisherRig::PublishFrame(1, 2));
  pb::PublishRequest ping;
  *ping.mutable_ping() = MakePing(9, epoch, {2, 10}, rig.broker_.publisher_limit);
  rig.Send(ping);
  const auto frames = rig.Run();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].pong().id(), 9u);
  EXPECT_EQ(frames[0].pong().received().bytes(), 10u);

  struct Case {
    uint64_t epoch;
    Credit sent, seen;
    ErrorKind kind;
  };
  const Credit limit = rig.broker_.publisher_limit;
  const Case cases[] = {
      {epoch, {3, 10}, limit, ErrorKind::kCounterMismatch},
      {epoch, {2, 11}, limit, ErrorKind::kCounterMismatch},
      {epoch, {2, 10}, limit + Credit{1, 0}, ErrorKind::kCounterMismatch},
      {epoch + 1, {2, 10}, limit, ErrorKind::kFenced},
  };
  for (const Case& c : cases) {
    PublisherRig other;
    other.Open();
    other.Send(PublisherRig::PublishFrame(1, 2));
    *ping.mutable_ping() = MakePing(1, c.epoch, c.sent, c.seen);
    other.Send(ping);
    EXPECT_EQ(other.kind(), c.kind);
  }
}

TEST(Publisher, TimersEndWhatIsSilent) {
  PublisherRig rig;
  rig.Pass(5 * kSecond - 1);
  EXPECT_FALSE(rig.session_->ended());
  rig.Pass(1);
  EXPECT_EQ(rig.kind(), ErrorKind::kTimedOut);

  PublisherRig live;
  live.Open();
  for (int i = 0; i < 2; ++i) {
    live.Pass(5 * kSecond);
    const auto frames = live.Run();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_TRUE(frames[0].has_ping());
  }
  live.Pass(5 * kSecond);
  EXPECT_EQ(live.kind(), ErrorKind::kTimedOut);
  EXPECT_EQ(live.broker_.publishers(), 0u);
}

TEST(Publisher, AnswersKeepItAlive) {
  PublisherRig rig;
  rig.Open();
  for (int i = 0; i < 10; ++i) {
    rig.Pass(5 * kSecond);
    const auto frames = rig.Run();
    ASSERT_EQ(frames.size(), 1u);
    ASSERT_TRUE(frames[0].has_ping());
    pb::PublishRequest pong;
    *pong.mutable_pong() = MakePong(frames[0].ping().id(), frames[0].ping().epoch(), {}, {});
    rig.Send(pong);
    ASSERT_FALSE(rig.session_->ended()) << rig.session_->error()->message;
  }
}

TEST(Publisher, ALongWriteIsASlowReader) {
  PublisherRig rig;
  rig.Open();
  rig.Send(PublisherRig::PublishFrame(1));
  rig.broker_.RunBatch(rig.now_);
  ASSERT_TRUE(rig.Next());
  rig.Pass(10 * kSecond);
  EXPECT_EQ(rig.kind(), ErrorKind::kSlowReader);
  EXPECT_TRUE(rig.session_->abandoned());
}

TEST(Publisher, AFloodOfPingsIsASlowReader) {
  PublisherRig rig;
  const uint64_t epoch = rig.Open();
  pb::PublishRequest ping;
  *ping.mutable_ping() = MakePing(1, epoch, {}, {});
  int sent = 0;
  for (; !rig.session_->ended() && sent < 1'000'000; ++sent) rig.Send(ping);
  EXPECT_EQ(rig.kind(), ErrorKind::kSlowReader);
  rig.Run();
  EXPECT_EQ(rig.broker_.publishers(), 0u);
}

TEST(Publisher, HalfCloseIsNoClose) {
  PublisherRig rig;
  rig.Open();
  rig.session_->OnHalfClosed();
  EXPECT_EQ(rig.kind(), ErrorKind::kProtocol);
  EXPECT_EQ(rig.broker_.publishers(), 0u);
}

TEST(Publisher, CloseBeforeTheAnswer) {
  PublisherRig rig;
  rig.broker_.hold_opens = true;
  rig.Send(PublisherRig::OpenFrame());
  pb::PublishRequest close;
  close.mutable_close();
  rig.Send(close);
  rig.Run();
  EXPECT_FALSE(rig.session_->ended());
  rig.broker_.hold_opens = false;
  EXPECT_EQ(rig.Run().size(), 2u);
  EXPECT_TRUE(rig.session_->ended());
  EXPECT_FALSE(rig.session_->error());
}

TEST(Publisher, TheLanesErrorComesAfterWhatWasSaid) {
  PublisherRig rig;
  rig.Open();
  rig.Send(PublisherRig::PublishFrame(1));
  rig.broker_.RunBatch(rig.now_);
  rig.broker_.CloseAll({.kind = ErrorKind::kClosed, .message = "the queue was deleted"});
  const auto frames = rig.Run();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_TRUE(frames[0].has_confirm());
  EXPECT_EQ(rig.kind(), ErrorKind::kClosed);
  EXPECT_EQ(rig.broker_.publishers(), 0u);
}

TEST(Consumer, DeliversAndSettles) {
  ConsumerRig rig;
  const uint64_t epoch = rig.Open();
  rig.Fill(3);
  const auto frames = rig.Run();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].delivery().records_size(), 3);
  EXPECT_EQ(frames[0].delivery().runs_size(), 3);

  pb::ConsumeRequest settle;
  auto* range = settle.mutable_settle()->add_ranges();
  range->set_first_offset(0);
  range->set_count(3);
  settle.mutable_settle()->set_action(pb::SETTLE_ACTION_ACK);
  settle.mutable_settle()->mutable_grant()->set_epoch(epoch);
  settle.mutable_settle()->mutable_grant()->mutable_limit()->set_messages(200);
  settle.mutable_settle()->mutable_grant()->mutable_limit()->set_bytes(2 << 20);
  rig.Send(settle);
  EXPECT_FALSE(rig.session_->ended());
  EXPECT_EQ(rig.broker_.log, std::vector<std::string>{"settle 0+3"});
}

TEST(Consumer, StopsWhileTheTransportIsFullAndGoesOn) {
  ConsumerRig rig;
  rig.options_.outbound_target_bytes = 1000;
  rig.options_.delivery_frame_bytes = 500;
  rig.Restart();
  rig.Open();
  rig.Fill(50, 100);
  rig.broker_.RunBatch(rig.now_);
  const auto first = rig.Next();
  ASSERT_TRUE(first);
  EXPECT_LE(first->delivery().records_size(), 5);
  EXPECT_TRUE(rig.more_);
  rig.session_->OnWritten(rig.now_);
  EXPECT_EQ(rig.broker_.log, std::vector<std::string>{"writable"});
  int records = first->delivery().records_size();
  for (int i = 0; i < 100 && records < 50; ++i) {
    for (const auto& frame : rig.Run()) records += frame.delivery().records_size();
  }
  EXPECT_EQ(records, 50);
}

TEST(Consumer, OurPingCountsWhatWasWritten) {
  ConsumerRig rig;
  const uint64_t epoch = rig.Open();
  rig.Fill(2);
  rig.Run();
  rig.Pass(5 * kSecond);
  const auto frames = rig.Run();
  ASSERT_EQ(frames.size(), 1u);
  const pb::Ping& ping = frames[0].ping();
  EXPECT_EQ(ping.sent().messages(), 2u);
  EXPECT_EQ(ping.sent().bytes(), 10u);
  EXPECT_EQ(ping.limit_seen().messages(), 100u);
  pb::ConsumeRequest pong;
  *pong.mutable_pong() = MakePong(ping.id(), epoch, {2, 10}, {100, 1 << 20});
  rig.Send(pong);
  EXPECT_FALSE(rig.session_->ended());

  rig.Pass(5 * kSecond);
  const auto again = rig.Run();
  ASSERT_EQ(again.size(), 1u);
  *pong.mutable_pong() = MakePong(again[0].ping().id(), epoch, {1, 10}, {100, 1 << 20});
  rig.Send(pong);
  EXPECT_EQ(rig.kind(), ErrorKind::kCounterMismatch);
}

TEST(Consumer, RefusesBadFramesByName) {
  using R = pb::ConsumeRequest;
  const auto invalid = ErrorKind::kInvalidArgument;
  R good;
  auto* range = good.mutable_settle()->add_ranges();
  range->set_count(1);
  good.mutable_settle()->set_action(pb::SETTLE_ACTION_ACK);
  struct Case {
    const char* name;
    bool opened;
    std::function<void(R*)> change;
    ErrorKind kind;
    std::string field;
  };
  const Case cases[] = {
      {"settle first", false, [](R*) {}, ErrorKind::kProtocol, "settle"},
      {"no ranges", true, [](R* r) { r->mutable_settle()->clear_ranges(); }, invalid,
       "settle.ranges"},
      {"empty range", true, [](R* r) { r->mutable_settle()->mutable_ranges(0)->set_count(0); },
       invalid, "settle.ranges[0]"},
      {"range wraps", true,
       [](R* r) { r->mutable_settle()->mutable_ranges(0)->set_first_offset(UINT64_MAX); }, invalid,
       "settle.ranges[0]"},
      {"no action", true, [](R* r) { r->mutable_settle()->clear_action(); }, invalid,
       "settle.action"},
      {"unknown action", true,
       [](R* r) { r->mutable_settle()->set_action(static_cast<pb::SettleAction>(99)); }, invalid,
       "settle.action"},
      {"long reason", true, [](R* r) { r->mutable_settle()->set_reason(std::string(1025, 'r')); },
       ErrorKind::kTooLarge, "settle.reason"},
      {"partition", true, [](R* r) { r->mutable_settle()->set_partition(2); }, invalid,
       "settle.partition"},
      {"many ranges", true,
       [](R* r) {
         for (int i = 0; i < 10'000; ++i) r->mutable_settle()->add_ranges()->set_count(1);
       },
       ErrorKind::kTooLarge, "settle.ranges"},
      {"grant of another epoch", true, [](R* r) { r->mutable_grant()->set_epoch(999); },
       ErrorKind::kFenced, "grant.epoch"},
      {"grant without limit", true, [](R* r) { r->mutable_grant()->set_epoch(1); }, invalid,
       "grant.limit"},
      {"extend of nothing", true, [](R* r) { r->mutable_extend(); }, invalid, "extend.ranges"},
      {"no target", false,
       [](R* r) {
         *r = ConsumerRig::OpenFrame();
         r->mutable_open()->clear_target();
       },
       invalid, "open.target"},
      {"group's name", false,
       [](R* r) {
         *r = ConsumerRig::OpenFrame();
         r->mutable_open()->mutable_group()->set_group("a/b");
       },
       invalid, "open.group.group"},
      {"mode", false,
       [](R* r) {
         *r = ConsumerRig::OpenFrame();
         r->mutable_open()->mutable_group()->set_mode(static_cast<pb::GroupMode>(9));
       },
       invalid, "open.group.mode"},
      {"held range", false,
       [](R* r) {
         *r = ConsumerRig::OpenFrame();
         r->mutable_open()->mutable_group()->add_held();
       },
       invalid, "open.group.held[0]"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    ConsumerRig rig;
    if (c.opened) rig.Open();
    R request = good;
    c.change(&request);
    rig.Send(request);
    EXPECT_EQ(rig.kind(), c.kind);
    EXPECT_EQ(rig.field(), c.field);
    EXPECT_EQ(rig.broker_.consumers(), 0u);
    EXPECT_TRUE(rig.broker_.log.empty());
  }
}

TEST(Consumer, AReaderSettlesNothing) {
  ConsumerRig rig;
  pb::ConsumeRequest open = ConsumerRig::OpenFrame();
  open.mutable_open()->mutable_reader();
  rig.Send(open);
  rig.Run();
  pb::ConsumeRequest settle;
  settle.mutable_settle()->add_ranges()->set_count(1);
  settle.mutable_settle()->set_action(pb::SETTLE_ACTION_ACK);
  rig.Send(settle);
  EXPECT_EQ(rig.kind(), ErrorKind::kProtocol);
  EXPECT_EQ(rig.field(), "settle");
}

}  // namespace
}  // namespace spillway::session
