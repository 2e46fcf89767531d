// Many producers and consumers of one queue: who gets what of it.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "broker/base/random.h"
#include "broker/failure/producer_table.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/test_client.h"

namespace spillway::runtime {
namespace {

using testing::TestBroker;
using testing::TestConsumer;
using testing::TestPublisher;

pb::QueueTuning Blocking(pb::Durability durability = pb::DURABILITY_MEMORY) {
  pb::QueueTuning tuning;
  tuning.set_durability(durability);
  tuning.set_overflow(pb::OVERFLOW_POLICY_BLOCK);
  return tuning;
}

std::vector<std::unique_ptr<TestConsumer>> Members(TestBroker& broker, size_t count) {
  std::vector<std::unique_ptr<TestConsumer>> members;
  members.reserve(count);
  for (size_t i = 0; i < count; ++i) members.push_back(broker.Member("q", "g"));
  return members;
}

// What each got since it was asked last.
std::vector<size_t> Taken(const std::vector<std::unique_ptr<TestConsumer>>& members) {
  std::vector<size_t> taken;
  for (const auto& member : members) {
    taken.push_back(member->received.size() - member->acked);
    member->AckAll();
  }
  return taken;
}

TEST(ManyStreams, ALittleIsSharedByAllMembers) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Blocking()).ok());
  auto publisher = broker.Publisher("q");
  auto members = Members(broker, 4);
  ASSERT_TRUE(publisher->Publish(std::vector<std::string>(100, "x")));
  broker.Settle();
  EXPECT_EQ(Taken(members), (std::vector<size_t>{25, 25, 25, 25}));
  broker.Advance(200);
  // Less than one for each: by turns, so that it is not always the same ones.
  std::vector<size_t> all(members.size());
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(publisher->Publish({"a", "b", "c"}));
    broker.Advance(20);
    const auto taken = Taken(members);
    EXPECT_EQ(*std::max_element(taken.begin(), taken.end()), 1u);
    for (size_t m = 0; m < all.size(); ++m) all[m] += taken[m];
  }
  EXPECT_EQ(all, (std::vector<size_t>{6, 6, 6, 6}));
}

TEST(ManyStreams, WhatSomeHaveNoRoomForGoesToTheOthers) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Blocking()).ok());
  auto publisher = broker.Publisher("q");
  std::vector<std::unique_ptr<TestConsumer>> members;
  for (const uint64_t credit : {5, 1'000, 0, 1'000}) {
    members.push_back(broker.Member("q", "g", credit));
  }
  members[3]->can_deliver = false;
  ASSERT_TRUE(publisher->Publish(std::vector<std::string>(100, "x")));
  broker.Settle();
  EXPECT_EQ(Taken(members), (std::vector<size_t>{5, 95, 0, 0}));
}

// Else each frame would be cut into as many as there are members.
TEST(ManyStreams, WhenMuchComesFramesStayWhole) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Blocking()).ok());
  auto publisher = broker.Publisher("q");
  auto members = Members(broker, 50);
  const std::vector<std::string> frame(100, "x");
  for (int ms = 0; ms < 40; ++ms) {
    broker.Advance(1);
    ASSERT_TRUE(publisher->Publish(frame));
    broker.Settle();
    Taken(members);
  }
  std::vector<size_t> all(members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    // A shard that is busy comes to them in waves.
    if (i % 10 == 0) broker.Advance(30);
    ASSERT_TRUE(publisher->Publish(frame));
    broker.Settle();
    const auto taken = Taken(members);
    EXPECT_EQ(*std::max_element(taken.begin(), taken.end()), frame.size());
    for (size_t m = 0; m < all.size(); ++m) all[m] += taken[m];
  }
  EXPECT_EQ(all, std::vector<size_t>(members.size(), frame.size())) << "each in its turn";
  // And when it is over, a little is for all again.
  broker.Advance(200);
  ASSERT_TRUE(publisher->Publish(frame));
  broker.Settle();
  EXPECT_EQ(Taken(members), std::vector<size_t>(members.size(), 2));
}

// A producer that sends records of any size, asks for credit that it lacks, and gives
// back what it cannot use when it is asked to.
struct Producer {
  void Send() {
    const Credit cost = testing::MakeRecords({next}).Cost();
    waits = !(stream->handle->received() + returned + cost).Within(stream->grant.limit);
    if (waits) return Demand(cost);
    EXPECT_TRUE(stream->Publish({next}));
    --left;
  }
  void GiveBackIfAsked() {
    if (stream->grant.reason != pb::CREDIT_REASON_FAIR_SHARE) return;
    const Credit unsent = stream->handle->granted() - stream->handle->received();
    if (unsent == returned) return;
    returned = unsent;
    Demand(testing::MakeRecords({next}).Cost());
  }
  void Demand(const Credit& cost) const {
    stream->handle->Demand({.waiting = waits ? cost : Credit{},
                            .next_record_bytes = waits ? cost.bytes : 0,
                            .returned = returned});
  }

  std::unique_ptr<TestPublisher> stream;
  std::string next;
  int left = 0;
  bool waits = false;
  Credit returned;
};

// Also those that a plan of credit was not about for a while; and large records among
// small ones. (That the window is kept, the ledger asserts.)
TEST(ManyStreams, AllProducersOfAWindowThatIsShortGetThrough) {
  TestBroker broker;
  Random random(7);
  auto tuning = Blocking();
  tuning.set_window_messages(200);
  tuning.set_window_bytes(256 << 10);
  tuning.set_max_message_bytes(64 << 10);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto member = broker.Member("q", "g");
  std::vector<Producer> producers(60);
  for (Producer& p : producers) p.stream = broker.Publisher("q");
  const auto unsent = [&] {
    return std::any_of(producers.begin(), producers.end(),
                       [](const Producer& p) { return p.left > 0; });
  };
  // First all at once, then in bursts of a few while the others are idle.
  for (const size_t active : {producers.size(), size_t{3}, producers.size()}) {
    for (size_t i = 0; i < active; ++i) producers[i].left = 20;
    int rounds = 0;
    for (; unsent() && rounds < 10'000; ++rounds) {
      Producer& p = producers[random.Below(active)];
      for (uint64_t n = random.Below(6); n > 0 && p.left > 0; --n) {
        if (!p.waits) p.next.assign(random.Below(8) == 0 ? 60'000 : random.Below(2'000), 'x');
        p.Send();
        if (p.waits) break;
      }
      for (Producer& other : producers) other.GiveBackIfAsked();
      if (random.Below(3) == 0) broker.Advance(random.Below(20));
      if (random.Below(2) == 0) member->AckAll();
      broker.Settle();
      ASSERT_LE(broker.Stats("q").depth_bytes(), tuning.window_bytes());
      for (const Producer& other : producers) {
        ASSERT_FALSE(other.stream->closed) << other.stream->closed->message;
      }
    }
    EXPECT_FALSE(unsent()) << "after " << rounds << " rounds";
    member->AckAll();
    broker.Advance(2'000);
  }
}

// Not before it is stored, although nobody knows where it is: confirmations go in order.
TEST(ManyStreams, ADuplicateWhoseOffsetIsForgottenIsConfirmedWhenItIsStored) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Blocking(pb::DURABILITY_SYNCED)).ok());
  auto one = broker.Publisher("q");
  auto other = broker.Publisher("q");
  for (size_t i = 0; i <= failure::ProducerTable::kMaxRuns; ++i) {
    ASSERT_TRUE(one->Publish({"x"}));
    ASSERT_TRUE(other->Publish({"y"}));
  }
  broker.SettleWithoutStore();
  one->next_sequence = 1;
  ASSERT_TRUE(one->Publish({"x"}));
  broker.SettleWithoutStore();
  EXPECT_TRUE(one->confirms.empty());
  broker.Settle();
  ASSERT_FALSE(one->confirms.empty());
  EXPECT_TRUE(one->confirms.back().duplicate);
  EXPECT_TRUE(one->confirms.back().offset_unknown);
  EXPECT_EQ(one->confirmed(), failure::ProducerTable::kMaxRuns + 2);
}

// A snapshot has all producers and the runs of their sequences, and it is what frees
// records that are settled: it must not become what is mostly written.
TEST(ManyStreams, SnapshotsOfManyProducersAreASmallPartOfWhatIsWritten) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Blocking(pb::DURABILITY_PERSISTED)).ok());
  auto member = broker.Member("q", "g", 100'000);
  constexpr int kEach = 500;
  std::vector<Producer> producers(200);
  for (Producer& p : producers) {
    p.stream = broker.Publisher("q");
    p.next.assign(1 << 10, 'x');
    p.left = kEach;
  }
  const uint64_t before = broker.store().stats().appended_bytes_total;
  const uint64_t published = producers.size() * kEach << 10;
  for (int rounds = 0; member->acked < producers.size() * kEach; ++rounds) {
    ASSERT_LT(rounds, 10 * kEach);
    for (Producer& p : producers) {
      p.GiveBackIfAsked();
      if (p.left > 0) p.Send();
    }
    broker.Settle();
    member->AckAll();
    broker.Settle();
  }
  const uint64_t written = broker.store().stats().appended_bytes_total - before;
  EXPECT_GT(written, published);
  EXPECT_LT(written, published + published / 8);
}

}  // namespace
}  // namespace spillway::runtime
