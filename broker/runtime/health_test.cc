// What the store's state and a drain do to producers.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "broker/credit/spill_pace.h"
#include "broker/runtime/broker.h"
#include "broker/runtime/test_client.h"

namespace spillway::runtime {
namespace {

using testing::TestBroker;
using testing::TestConsumer;
using testing::TestPublisher;

pb::QueueTuning Small(pb::Durability durability = pb::DURABILITY_PERSISTED) {
  pb::QueueTuning tuning;
  tuning.set_durability(durability);
  tuning.set_window_messages(16);
  tuning.set_overflow(pb::OVERFLOW_POLICY_BLOCK);
  return tuning;
}

// The name of a queue that is on the shard of `other`, beginning with `name`.
std::string OfTheSameShard(TestBroker& broker, const std::string& other, std::string name) {
  while (&broker.Of(name) != &broker.Of(other)) name += 'x';
  return name;
}

// Spends all credit; returns how many records it took.
uint64_t Spend(TestBroker& broker, TestPublisher& publisher) {
  uint64_t n = 0;
  while (n < 1'000 && publisher.Publish({"x"})) {
    ++n;
    broker.SettleWithoutStore();
  }
  return n;
}

void Wait(TestBroker& broker, TestPublisher& publisher) {
  publisher.handle->Demand(
      {.waiting = {1, 100}, .next_record_bytes = 100, .returned = std::nullopt});
  broker.SettleWithoutStore();
}

TEST(Health, ADiskThatIsLowStopsGrantsUntilThereIsRoom) {
  TestBroker broker;
  auto tuning = Small();
  tuning.set_overflow(pb::OVERFLOW_POLICY_SPILL);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto publisher = broker.Publisher("q");
  broker.disk_free_bytes = uint64_t{1} << 30;
  broker.Advance(200);
  EXPECT_GT(Spend(broker, *publisher), 0u);  // what was granted is taken
  broker.Settle();
  Wait(broker, *publisher);
  EXPECT_EQ(publisher->grant.reason, pb::CREDIT_REASON_DISK_LOW);
  EXPECT_FALSE(publisher->Publish({"x"}));
  EXPECT_EQ(publisher->confirmed(), publisher->next_sequence - 1);  // and stored

  broker.disk_free_bytes = uint64_t{1} << 39;
  broker.Advance(200);
  EXPECT_TRUE(publisher->Publish({"x"}));
}

TEST(Health, AFullDiskTakesNoRecordsAndLosesNone) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Small()).ok());
  auto publisher = broker.Publisher("q");
  broker.disk_free_bytes = 1 << 20;
  broker.Advance(200);
  const uint64_t sent = Spend(broker, *publisher);
  ASSERT_GT(sent, 0u);
  broker.Settle();
  EXPECT_EQ(publisher->confirmed(), 0u);
  broker.disk_free_bytes = uint64_t{1} << 39;
  broker.Advance(200);
  EXPECT_EQ(publisher->confirmed(), sent);
}

TEST(Health, AStoreThatDoesNotAnswerStopsGrants) {
  TestBroker broker;
  auto tuning = Small();
  tuning.set_overflow(pb::OVERFLOW_POLICY_SPILL);
  tuning.set_window_messages(1'000);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto publisher = broker.Publisher("q");
  ASSERT_TRUE(publisher->Publish({"x"}));
  broker.SettleWithoutStore();
  for (int i = 0; i < 60; ++i) {
    broker.now.mono += 100 * kNanosPerMilli;
    broker.SettleWithoutStore();
  }
  while (publisher->Publish({"x"})) broker.SettleWithoutStore();
  Wait(broker, *publisher);
  EXPECT_EQ(publisher->grant.reason, pb::CREDIT_REASON_DISK_SLOW);
  broker.Settle();  // it answers
  broker.Advance(200);
  EXPECT_EQ(publisher->confirmed(), publisher->next_sequence - 1);
  EXPECT_TRUE(publisher->Publish({"x"}));
}

std::vector<std::string> NamesOfOneShard(TestBroker& broker, size_t count) {
  std::vector<std::string> names;
  for (int i = 0; names.size() < count; ++i) {
    std::string name = "q" + std::to_string(i);
    if (&broker.Of(name) == &broker.Shard(0)) names.push_back(name);
  }
  return names;
}

// A producer and a member of a group of each of these queues, which are created.
struct Ends {
  std::vector<std::unique_ptr<TestPublisher>> publishers;
  std::vector<std::unique_ptr<TestConsumer>> members;
};
Ends OpenEach(TestBroker& broker, const std::vector<std::string>& names,
              const pb::QueueTuning& tuning) {
  Ends ends;
  for (const std::string& name : names) {
    EXPECT_TRUE(broker.CreateQueue(name, tuning).ok());
    ends.publishers.push_back(broker.Publisher(name));
    ends.members.push_back(broker.Member(name, "g"));
  }
  return ends;
}

// What drains is let go of long before a memtable is full, also where each of several
// queues has only a part of it; what is still needed is not.
TEST(Health, WhatDrainsIsTrimmedSoon) {
  TestBroker broker;
  const std::vector<std::string> names = NamesOfOneShard(broker, 4);  // they count together
  auto tuning = Small();
  tuning.set_window_bytes(64 << 20);
  const std::string record(256 << 10, 'x');
  const Ends ends = OpenEach(broker, names, tuning);
  uint64_t most = 0;
  const auto publish = [&](int rounds, bool settle) {
    for (int i = 0; i < rounds; ++i) {
      for (size_t q = 0; q < names.size(); ++q) {
        ASSERT_TRUE(ends.publishers[q]->Publish({record}));
        broker.Settle();
        if (settle) ends.members[q]->AckAll();
      }
      broker.Settle();
      most = std::max(most, broker.store().stats().live_bytes);
    }
  };
  publish(30, true);  // 30 MiB in all, 7.5 of each
  EXPECT_LT(most, uint64_t{10} << 20);
  publish(10, false);
  EXPECT_GE(broker.store().stats().live_bytes, 10 * names.size() * record.size());
}

// One frame each is trimmed when it is settled, not when the next one comes.
TEST(Health, AFrameOfEachOfManyQueuesIsTrimmedWhenItIsSettled) {
  TestBroker broker;
  const std::vector<std::string> names = NamesOfOneShard(broker, 64);
  const std::string record(128 << 10, 'x');
  for (const std::string& name : names) {
    ASSERT_TRUE(broker.CreateQueue(name, Small()).ok());
    auto publisher = broker.Publisher(name);
    auto member = broker.Member(name, "g");
    ASSERT_TRUE(publisher->Publish({record}));
    broker.Settle();
    member->AckAll();
    broker.Settle();
  }
  // Of 8 MiB the first 4, which nobody looks at again.
  EXPECT_LT(broker.store().stats().live_bytes, uint64_t{5} << 20);
}

// What was on its way when the one before it was trimmed waits for no further frame.
TEST(Health, AFrameThatAnotherOneOvertookIsTrimmedWhenItIsSettled) {
  TestBroker broker;
  const std::vector<std::string> names = NamesOfOneShard(broker, 64);
  const std::string record(128 << 10, 'x');
  auto tuning = Small();
  tuning.set_window_bytes(1 << 20);  // of all, not more than the broker's memory
  const Ends ends = OpenEach(broker, names, tuning);
  for (size_t q = 0; q < names.size(); ++q) {
    ASSERT_TRUE(ends.publishers[q]->Publish({record}));
    ASSERT_TRUE(ends.publishers[q]->Publish({record}));
    broker.Settle();
    ends.members[q]->Ack({0, 1});
    broker.Settle();
  }
  for (const auto& member : ends.members) {
    member->Ack({1, 1});
    broker.Settle();
  }
  // Of 16 MiB what came last, of which all lanes have written less than 4 since.
  EXPECT_LT(broker.store().stats().live_bytes, uint64_t{5} << 20);
}

// Where one queue is all that has anything to do, nobody else waits for the disk with it.
TEST(Health, AShardMayWaitForTheDiskWhereOneQueueIsAlone) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Small()).ok());
  // Of the same shard; nothing of it is on its way to the disk.
  const std::string name = OfTheSameShard(broker, "q", "other");
  ASSERT_TRUE(broker.CreateQueue(name, Small(pb::DURABILITY_MEMORY)).ok());
  auto publisher = broker.Publisher("q");
  auto other = broker.Publisher(name);
  const auto publish = [&](TestPublisher& to) {
    EXPECT_TRUE(to.Publish({"x"}));
    broker.Settle();
    return broker.store().may_wait();
  };
  EXPECT_FALSE(publish(*publisher));
  broker.Advance(101);
  EXPECT_TRUE(publish(*publisher)) << "alone for long enough";
  publish(*other);
  EXPECT_FALSE(publish(*publisher)) << "the other one may have more";
  broker.Advance(50);
  EXPECT_FALSE(publish(*publisher));
  broker.Advance(51);
  EXPECT_TRUE(publish(*publisher)) << "the other one has had nothing since";
  auto member = broker.Member("q", "g");
  broker.Advance(101);
  ASSERT_TRUE(publish(*publisher));
  member->AckAll();
  broker.Settle();
  broker.Advance(25);
  EXPECT_FALSE(broker.store().may_wait()) << "a cursor that is saved, for which nobody waits";
}

// What spills is waited for by nobody who is in a hurry: it is no company.
TEST(Health, AQueueThatSpillsKeepsNoOtherFromBeingAlone) {
  TestBroker broker;
  auto tuning = Small();
  tuning.set_overflow(pb::OVERFLOW_POLICY_SPILL);
  tuning.set_window_bytes(64 << 10);
  tuning.set_max_message_bytes(4 << 10);
  ASSERT_TRUE(broker.CreateQueue("spills", tuning).ok());
  const std::string name = OfTheSameShard(broker, "spills", "live");
  ASSERT_TRUE(broker.CreateQueue(name, Small()).ok());
  auto spills = broker.Publisher("spills");
  auto live = broker.Publisher(name);
  const auto publish = [&](TestPublisher& to, size_t bytes) {
    EXPECT_TRUE(to.Publish({std::string(bytes, 'x')}));
    broker.Settle();
    return broker.store().may_wait();
  };
  // More than the window holds waits for the member, which settles nothing.
  const auto member = broker.Member("spills", "g");
  publish(*live, 1);
  broker.Advance(101);
  EXPECT_TRUE(publish(*live, 1));
  for (uint64_t sent = 0; sent < 2 * tuning.window_bytes(); sent += 1'000) publish(*spills, 1'000);
  publish(*live, 1);
  broker.Advance(101);
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(publish(*spills, 1)) << "nobody waits for what spills";
    EXPECT_TRUE(publish(*live, 1));
  }
}

// What a MEMORY queue has too much of goes to the store in pieces, not one by one.
TEST(Health, MemorySpillsInPieces) {
  TestBroker broker;
  auto tuning = Small(pb::DURABILITY_MEMORY);
  tuning.set_overflow(pb::OVERFLOW_POLICY_SPILL);
  tuning.set_window_messages(1'000'000);
  tuning.set_window_bytes(8 << 20);  // pieces of 32 KiB
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto publisher = broker.Publisher("q");
  const auto stored = [&] { return broker.store().stats().live_bytes; };
  const auto publish = [&] {
    ASSERT_TRUE(publisher->Publish({std::string(1'000, 'x')}));
    broker.Settle();
  };
  const uint64_t at_first = stored();
  uint64_t sent = 0;
  for (; stored() == at_first; sent += 1'000) publish();
  EXPECT_LT(sent, tuning.window_bytes() / 2 + (64 << 10)) << "half of the window is kept";
  int pieces = 0;
  for (int i = 0; i < 300; ++i) {
    const uint64_t before = stored();
    publish();
    pieces += stored() > before ? 1 : 0;
  }
  EXPECT_GT(pieces, 5);
  EXPECT_LT(pieces, 20);
}

// What spills goes to the store at a pace while another queue stores, too; its producer
// hears why it has to wait, and all of it gets there.
TEST(Health, AQueueThatSpillsIsPacedBesideAnother) {
  TestBroker broker;
  auto tuning = Small();
  tuning.set_overflow(pb::OVERFLOW_POLICY_SPILL);
  tuning.set_window_messages(1'000);
  tuning.set_window_bytes(8 << 20);
  ASSERT_TRUE(broker.CreateQueue("spills", tuning).ok());
  // Of the same shard: each has a pace of its own.
  const std::string name = OfTheSameShard(broker, "spills", "live");
  ASSERT_TRUE(broker.CreateQueue(name, Small()).ok());
  auto spills = broker.Publisher("spills");
  auto live = broker.Publisher(name);
  const std::string mebibyte(1 << 20, 'x');
  // Waits for credit where there is none, but not for time to pass.
  const auto publish = [&](int count) {
    for (int published = 0; published < count; ++published) {
      if (!spills->Publish({mebibyte})) {
        spills->handle->Demand(
            {.waiting = {1, 2 << 20}, .next_record_bytes = 2 << 20, .returned = std::nullopt});
        broker.Settle();
        if (!spills->Publish({mebibyte})) return published;
      }
      broker.Settle();
    }
    return count;
  };
  // Alone nothing holds it, nor is what it stored before it spilled company for it.
  ASSERT_EQ(publish(40), 40);
  EXPECT_EQ(spills->confirmed(), 40u);

  ASSERT_TRUE(live->Publish({"x"}));
  broker.Settle();
  const int window = publish(100);
  EXPECT_LT(window, 20) << "no more than the window and what went at once";
  EXPECT_EQ(spills->grant.reason, pb::CREDIT_REASON_DISK_SLOW);
  pb::ExplainRequest explain;
  explain.set_queue("spills");
  const auto why = broker.Call<pb::ExplainResponse>(&Broker::Explain, explain);
  ASSERT_TRUE(why.ok());
  EXPECT_EQ(why->numbers().at("spill_bytes_per_second"), credit::SpillPace::kFirstBytesPerSecond);
  const uint64_t before = spills->confirmed();
  for (int i = 0; i < 100; ++i) broker.Advance(1);
  const uint64_t most = credit::SpillPace::kFirstBytesPerSecond / 10 >> 20;
  EXPECT_GE(spills->confirmed(), before + 1);
  EXPECT_LE(spills->confirmed(), before + most + 2);
  broker.Advance(10'000);
  EXPECT_EQ(spills->confirmed(), spills->next_sequence - 1);
}

TEST(Health, ADrainDoesNotWaitForeverForCredit) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Small(pb::DURABILITY_MEMORY)).ok());
  auto keeper = broker.Publisher("q");
  ASSERT_TRUE(keeper->Publish({"x"}));
  broker.Settle();
  bool done = false;
  broker->Drain([&] { done = true; });
  broker.Advance(10);
  EXPECT_TRUE(keeper->drained);
  ASSERT_TRUE(keeper->Publish({"y"}));  // granted before
  broker.Advance(14'000);
  EXPECT_FALSE(keeper->closed) << keeper->closed->message;
  EXPECT_FALSE(done);
  EXPECT_EQ(keeper->confirmed(), 2u);
  broker.Advance(2'000);  // of 20 s, three quarters are over
  ASSERT_TRUE(keeper->closed);
  EXPECT_EQ(keeper->closed->kind, ErrorKind::kUnavailable);
  EXPECT_TRUE(done);
  auto after = broker.store().CrashClone(storage::Level::kFsync);
  keeper->handle.reset();
  TestBroker next(std::move(after));
  EXPECT_EQ(next.Stats("q").depth_messages(), 2u);
}

TEST(Health, ADrainWaitsForWhatConsumersHave) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Small()).ok());
  auto consumer = broker.Member("q", "g", 2);
  auto publisher = broker.Publisher("q");
  ASSERT_TRUE(publisher->Publish({"a", "b", "c"}));
  broker.Settle();
  publisher->handle->Close();
  broker.Settle();
  ASSERT_EQ(consumer->received.size(), 2u);
  bool done = false;
  broker->Drain([&] { done = true; });
  broker.Advance(1'000);
  EXPECT_FALSE(done);
  consumer->Grant(10);
  consumer->Ack({0, 2});
  broker.Settle();
  EXPECT_TRUE(done);
  EXPECT_EQ(consumer->received.size(), 2u) << "delivered while draining";
  auto after = broker.store().CrashClone(storage::Level::kFsync);
  consumer->handle.reset();
  TestBroker next(std::move(after));
  auto again = next.Member("q", "g");
  EXPECT_EQ(again->opened->start, 2u);
}

TEST(Health, ADrainEndsAtItsDeadlineWhateverTheStoreDoes) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Small()).ok());
  auto publisher = broker.Publisher("q");
  ASSERT_TRUE(publisher->Publish({"x"}));
  broker.SettleWithoutStore();
  bool done = false;
  broker->Drain([&] { done = true; });
  for (int i = 0; i < 19; ++i) {
    broker.now.mono += 1'000 * kNanosPerMilli;
    broker.SettleWithoutStore();
  }
  EXPECT_FALSE(done);
  broker.now.mono += 2'000 * kNanosPerMilli;
  broker.SettleWithoutStore();
  EXPECT_TRUE(done);
  broker.Settle();
  publisher->handle.reset();
}

}  // namespace
}  // namespace spillway::runtime
