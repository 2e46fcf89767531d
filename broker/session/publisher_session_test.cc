#include "broker/session/publisher_session.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "broker/session/session_rig.h"

namespace spillway::session {
namespace {

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
    live.Pass(5 * kSecond);  // the peer's turn to ask
    EXPECT_TRUE(live.Run().empty());
    live.Pass(kSecond);
    const auto frames = live.Run();
    ASSERT_EQ(frames.size(), 1u);
    EXPECT_TRUE(frames[0].has_ping());
  }
  live.Pass(3 * kSecond);
  EXPECT_EQ(live.kind(), ErrorKind::kTimedOut);
  EXPECT_EQ(live.broker_.publishers(), 0u);
}

TEST(Publisher, AnswersKeepItAlive) {
  PublisherRig rig;
  rig.Open();
  for (int i = 0; i < 10; ++i) {
    rig.Pass(6 * kSecond);
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

}  // namespace
}  // namespace spillway::session
