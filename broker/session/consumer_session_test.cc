#include "broker/session/consumer_session.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "broker/session/session_rig.h"

namespace spillway::session {
namespace {

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
  rig.Pass(6 * kSecond);
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

  rig.Pass(6 * kSecond);
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
