// Members that come back and say what they still hold, or have settled.
#include <memory>
#include <string>
#include <vector>

#include "broker/runtime/broker.h"
#include "broker/runtime/test_client.h"

namespace spillway::runtime {
namespace {

using testing::TestBroker;
using testing::TestConsumer;

pb::ConsumeOpen Resume(const std::vector<OffsetRange>& held) {
  pb::ConsumeOpen open;
  open.set_queue("q");
  open.mutable_group()->set_group("g");
  for (const OffsetRange& range : held) {
    pb::OffsetRange* out = open.mutable_group()->add_held();
    out->set_first_offset(range.first);
    out->set_count(range.count);
  }
  open.mutable_limit()->set_messages(100);
  open.mutable_limit()->set_bytes(1 << 20);
  return open;
}

// A member that has received ten records.
std::unique_ptr<TestConsumer> MemberOfTen(TestBroker& broker) {
  pb::QueueTuning tuning;
  tuning.set_durability(pb::DURABILITY_SYNCED);
  EXPECT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto member = broker.Member("q", "g");
  EXPECT_TRUE(broker.Publisher("q")->Publish(std::vector<std::string>(10, "record")));
  broker.Settle();
  return member;
}

pb::Group GroupOf(TestBroker& broker) {
  pb::ListGroupsRequest list;
  list.set_queue("q");
  return broker.Call<pb::ListGroupsResponse>(&Broker::ListGroups, list)->groups(0);
}

TEST(ResumeTest, ADisconnectHandsOverAndAResumeKeepsWhatIsHeld) {
  TestBroker broker;
  auto first = MemberOfTen(broker);
  ASSERT_EQ(first->received.size(), 10u);
  first->handle.reset();
  broker.Settle();
  auto second = broker.Consumer(Resume({{0, 4}, {100, 2}}));
  broker.Settle();
  ASSERT_EQ(second->received.size(), 6u);
  EXPECT_EQ(second->received[0].offset, 4u);
  EXPECT_EQ(second->received[0].attempt, 2u);
  ASSERT_EQ(second->revoked.size(), 1u);
  EXPECT_EQ(second->revoked[0].first, 100u);
  second->Ack({0, 10});
  broker.Settle();
  EXPECT_EQ(broker.Stats("q").depth_messages(), 0u);
}

// A client whose stream broke does not know which of its settles arrived.
TEST(ResumeTest, WhatWasSettledBeforeIsRevokedAndCountsOnce) {
  TestBroker broker;
  auto first = MemberOfTen(broker);
  ASSERT_EQ(first->received.size(), 10u);
  first->Ack({0, 3});
  first->Settle({4, 1}, pb::SETTLE_ACTION_PARK);
  first->Settle({5, 1}, pb::SETTLE_ACTION_RETRY, 60'000);
  first->Settle({6, 1}, pb::SETTLE_ACTION_SKIP);
  broker.Settle();
  first->handle.reset();

  auto second = broker.Consumer(Resume({{0, 10}}));
  broker.Settle();
  std::vector<OffsetRange> revoked = second->revoked;
  EXPECT_EQ(revoked, (std::vector<OffsetRange>{{0, 3}, {4, 3}}));
  EXPECT_EQ(second->revoke_reason, pb::REVOKE_REASON_STALE);
  EXPECT_EQ(GroupOf(broker).in_flight_messages(), 4u);
  // All of it is settled again, before the client has read that.
  second->Ack({0, 4});
  second->Settle({4, 1}, pb::SETTLE_ACTION_PARK);
  second->Settle({5, 1}, pb::SETTLE_ACTION_RETRY, 60'000);
  second->Settle({6, 1}, pb::SETTLE_ACTION_SKIP);
  broker.Settle();
  EXPECT_TRUE(second->received.empty());
  EXPECT_FALSE(second->closed);
  const pb::Group after = GroupOf(broker);
  EXPECT_EQ(after.in_flight_messages(), 3u);
  EXPECT_EQ(after.parked_messages(), 1u);
  EXPECT_EQ(after.retrying_messages(), 1u);
  EXPECT_EQ(after.redelivered_messages_total(), 0u);
  EXPECT_EQ(after.cursor_offset(), 5u);
  second->Ack({7, 3});
  broker.Settle();
  EXPECT_EQ(GroupOf(broker).lag_messages(), 1u) << "the retry";
}

}  // namespace
}  // namespace spillway::runtime
