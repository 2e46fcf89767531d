#include "broker/runtime/broker.h"

#include <string>
#include <vector>

#include "broker/runtime/test_client.h"

namespace spillway::runtime {
namespace {

using testing::TestBroker;
using testing::TestConsumer;
using testing::TestPublisher;

pb::QueueTuning Tuning(pb::Durability durability) {
  pb::QueueTuning tuning;
  tuning.set_durability(durability);
  return tuning;
}

std::string Payload(int i) { return "record " + std::to_string(i); }

// Publishes records first .. first + count - 1 as credit allows, letting
// consumers acknowledge meanwhile.
void PublishAll(TestBroker& broker, TestPublisher& publisher, int first, int count,
                const std::vector<TestConsumer*>& consumers = {}) {
  int sent = 0;
  for (int round = 0; sent < count; ++round) {
    ASSERT_LT(round, count + 10'000) << "no progress";
    std::vector<std::string> batch;
    for (int i = 0; i < 10 && sent + i < count; ++i) batch.push_back(Payload(first + sent + i));
    if (publisher.Publish(batch)) {
      sent += static_cast<int>(batch.size());
    } else {
      publisher.handle->Demand(
          {.waiting = {batch.size(), 1'000}, .next_record_bytes = 100, .returned = std::nullopt});
    }
    broker.Settle();
    for (TestConsumer* consumer : consumers) consumer->AckAll();
    ASSERT_FALSE(publisher.closed) << publisher.closed->message;
  }
  broker.Settle();
}

void ExpectInOrder(const TestConsumer& consumer, int first, int count) {
  ASSERT_EQ(consumer.received.size(), static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    ASSERT_EQ(consumer.received[i].payload, Payload(first + i)) << "at " << i;
    ASSERT_EQ(consumer.received[i].offset, static_cast<Offset>(first + i));
  }
}

class EveryDurability : public ::testing::TestWithParam<pb::Durability> {};
INSTANTIATE_TEST_SUITE_P(Durabilities, EveryDurability,
                         ::testing::Values(pb::DURABILITY_MEMORY, pb::DURABILITY_PERSISTED,
                                           pb::DURABILITY_SYNCED));

TEST_P(EveryDurability, PublishConfirmDeliverSettle) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("orders", Tuning(GetParam())).ok());
  auto consumer = broker.Member("orders", "billing");
  ASSERT_TRUE(consumer->opened);
  auto publisher = broker.Publisher("orders");
  ASSERT_TRUE(publisher->opened);
  EXPECT_GT(publisher->grant.limit.messages, 0u);
  PublishAll(broker, *publisher, 0, 100);
  EXPECT_EQ(publisher->confirmed(), 100u);
  EXPECT_EQ(static_cast<int>(publisher->level), static_cast<int>(GetParam()));
  ExpectInOrder(*consumer, 0, 100);
  consumer->AckAll();
  broker.Settle();
  const auto stats = broker.Stats("orders");
  EXPECT_EQ(stats.depth_messages(), 0u);
  EXPECT_EQ(stats.head_offset(), 100u);
  EXPECT_EQ(stats.settled_messages_total(), 100u);
}

TEST_P(EveryDurability, SpillsBeyondTheWindowAndComesBackInOrder) {
  TestBroker broker;
  auto tuning = Tuning(GetParam());
  tuning.set_window_bytes(32 << 10);
  tuning.set_max_message_bytes(1 << 10);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto slow = broker.Member("q", "slow", 0);
  auto fast = broker.Member("q", "fast");
  auto publisher = broker.Publisher("q");
  PublishAll(broker, *publisher, 0, 5'000, {fast.get()});
  EXPECT_EQ(publisher->confirmed(), 5'000u);
  ExpectInOrder(*fast, 0, 5'000);
  auto stats = broker.Stats("q");
  EXPECT_LE(stats.resident_bytes() + stats.producer_unspent().bytes(), uint64_t{32 << 10});
  EXPECT_GT(stats.spilled_messages_total(), 0u);
  EXPECT_TRUE(slow->received.empty());
  slow->Grant(1'000'000);
  broker.Settle();
  for (int i = 0; i < 2'000 && slow->received.size() < 5'000; ++i) {
    slow->AckAll();
    broker.Settle();
  }
  ExpectInOrder(*slow, 0, 5'000);
  slow->AckAll();
  broker.Settle();
  stats = broker.Stats("q");
  EXPECT_EQ(stats.depth_messages(), 0u);
  EXPECT_GT(stats.unspilled_messages_total(), 0u);
}

TEST_P(EveryDurability, ARestartKeepsWhatWasAcknowledged) {
  std::unique_ptr<storage::MemoryStore> after;
  const bool synced = GetParam() == pb::DURABILITY_SYNCED;
  {
    TestBroker broker;
    ASSERT_TRUE(broker.CreateQueue("q", Tuning(GetParam())).ok());
    auto consumer = broker.Member("q", "g");
    auto publisher = broker.Publisher("q", "p1");
    PublishAll(broker, *publisher, 0, 50);
    consumer->AckAll();
    broker.Settle();
    broker.Advance(25);  // cursors are saved every 25 ms
    PublishAll(broker, *publisher, 50, 50);
    after = broker.store().CrashClone(synced ? storage::Level::kFsync : storage::Level::kProcess);
    publisher->handle.reset();
    consumer->handle.reset();
  }
  TestBroker broker(std::move(after));
  auto consumer = broker.Member("q", "g");
  ASSERT_TRUE(consumer->opened);
  if (GetParam() == pb::DURABILITY_MEMORY) {
    // Lost with the memory, and said so; offsets are not given out again.
    EXPECT_TRUE(consumer->received.empty());
    auto publisher = broker.Publisher("q", "p1", 101);
    EXPECT_EQ(publisher->opened->next_sequence, 101u);
    ASSERT_TRUE(publisher->Publish({"new"}));
    broker.Settle();
    ASSERT_EQ(consumer->received.size(), 1u);
    EXPECT_GE(consumer->received[0].offset, 100u);
    return;
  }
  // The cursor may be older than the last settle (it is saved in the background),
  // but never past it.
  const Offset start = consumer->opened->start;
  EXPECT_LE(start, 50u);
  if (!synced) {
    EXPECT_EQ(start, 50u);
  }
  ASSERT_EQ(consumer->received.size(), 100 - start);
  for (size_t i = 0; i < consumer->received.size(); ++i) {
    EXPECT_EQ(consumer->received[i].payload, Payload(static_cast<int>(start + i)));
  }
  auto publisher = broker.Publisher("q", "p1");
  EXPECT_EQ(publisher->opened->next_sequence, 101u);
}

TEST(BrokerTest, DuplicatesAreConfirmedWithTheirOffsets) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Tuning(pb::DURABILITY_SYNCED)).ok());
  auto first = broker.Publisher("q", "p");
  ASSERT_TRUE(first->Publish({"a", "b"}));
  broker.Settle();
  auto second = broker.Publisher("q", "p");
  ASSERT_TRUE(first->closed);
  EXPECT_EQ(first->closed->kind, ErrorKind::kFenced);
  EXPECT_EQ(second->opened->next_sequence, 3u);
  second->next_sequence = 1;
  ASSERT_TRUE(second->Publish({"a", "b"}));
  ASSERT_TRUE(second->Publish({"c"}));
  broker.Settle();
  ASSERT_EQ(second->confirms.size(), 2u);
  EXPECT_TRUE(second->confirms[0].duplicate);
  EXPECT_EQ(second->confirms[0].first_offset, 0u);
  EXPECT_EQ(second->confirms[1].first_offset, 2u);
  EXPECT_EQ(broker.Stats("q").tail_offset(), 3u);
  // A gap ends the stream.
  second->next_sequence = 9;
  ASSERT_TRUE(second->Publish({"x"}));
  broker.Settle();
  ASSERT_TRUE(second->closed);
  EXPECT_EQ(second->closed->kind, ErrorKind::kSequenceGap);
}

TEST(BrokerTest, CreditIsJudgedExactly) {
  TestBroker broker;
  auto tuning = Tuning(pb::DURABILITY_MEMORY);
  tuning.set_window_messages(10);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto publisher = broker.Publisher("q");
  const uint64_t limit = publisher->grant.limit.messages;
  ASSERT_GT(limit, 0u);
  std::vector<std::string> exactly(limit, "x");
  publisher->handle->Publish(1, 0, testing::MakeRecords(exactly));
  broker.Settle();
  EXPECT_FALSE(publisher->closed);
  const uint64_t left = publisher->grant.limit.messages - limit;
  std::vector<std::string> one_more(left + 1, "x");
  publisher->handle->Publish(limit + 1, 0, testing::MakeRecords(one_more));
  broker.Settle();
  ASSERT_TRUE(publisher->closed);
  EXPECT_EQ(publisher->closed->kind, ErrorKind::kCreditExceeded);
}

TEST(BrokerTest, BlockWaitsForConsumersAndSaysWhy) {
  TestBroker broker;
  auto tuning = Tuning(pb::DURABILITY_SYNCED);
  tuning.set_window_messages(20);
  tuning.set_overflow(pb::OVERFLOW_POLICY_BLOCK);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto consumer = broker.Member("q", "g", 0);
  auto publisher = broker.Publisher("q");
  int sent = 0;
  while (publisher->Publish({Payload(sent)})) {
    ++sent;
    broker.Settle();
    ASSERT_LE(sent, 20);
  }
  publisher->handle->Demand(
      {.waiting = {1, 100}, .next_record_bytes = 100, .returned = std::nullopt});
  broker.Settle();
  while (publisher->Publish({Payload(sent)})) {
    ++sent;
    ASSERT_LE(sent, 20);
    publisher->handle->Demand(
        {.waiting = {1, 100}, .next_record_bytes = 100, .returned = std::nullopt});
    broker.Settle();
  }
  EXPECT_EQ(sent, 20);
  EXPECT_EQ(publisher->grant.reason, pb::CREDIT_REASON_WINDOW_FULL);
  pb::ExplainRequest explain;
  explain.set_queue("q");
  auto why = broker.Call<pb::ExplainResponse>(&Broker::Explain, explain);
  ASSERT_TRUE(why.ok());
  bool found = false;
  for (const auto& stall : why->stalls()) {
    found |= stall.reason() == pb::STALL_REASON_WINDOW_FULL && !stall.ends_when().empty();
  }
  EXPECT_TRUE(found) << why->DebugString();
  consumer->Grant(100);
  broker.Settle();
  consumer->AckAll();
  broker.Settle();
  EXPECT_TRUE(publisher->Publish({Payload(sent)}));
}

TEST(BrokerTest, ADemandThatIsMetInPartIsNotForgotten) {
  TestBroker broker;
  auto tuning = Tuning(pb::DURABILITY_SYNCED);
  tuning.set_window_messages(20);
  tuning.set_overflow(pb::OVERFLOW_POLICY_BLOCK);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto consumer = broker.Member("q", "g");
  // They hold all but what is kept for one who waits.
  std::vector<std::unique_ptr<TestPublisher>> others(6);
  for (auto& other : others) other = broker.Publisher("q");
  auto publisher = broker.Publisher("q");
  ASSERT_FALSE(publisher->Publish({Payload(0)}));
  publisher->handle->Demand(
      {.waiting = {3, 300}, .next_record_bytes = 100, .returned = std::nullopt});
  for (int sent = 0; sent < 3; ++sent) {
    broker.Settle();
    ASSERT_TRUE(publisher->Publish({Payload(sent)})) << "after " << sent;
    broker.Settle();
    consumer->AckAll();
  }
}

TEST(BrokerTest, RejectSaysFullAndDropOldestTellsWhatIsGone) {
  TestBroker broker;
  auto tuning = Tuning(pb::DURABILITY_MEMORY);
  tuning.set_window_messages(16);
  tuning.set_overflow(pb::OVERFLOW_POLICY_REJECT);
  ASSERT_TRUE(broker.CreateQueue("reject", tuning).ok());
  auto rejected = broker.Publisher("reject");
  while (rejected->Publish({"x"})) broker.Settle();
  EXPECT_EQ(rejected->grant.reason, pb::CREDIT_REASON_FULL_REJECT);

  tuning.set_overflow(pb::OVERFLOW_POLICY_DROP_OLDEST);
  ASSERT_TRUE(broker.CreateQueue("drop", tuning).ok());
  auto consumer = broker.Member("drop", "g", 0);
  auto publisher = broker.Publisher("drop");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(publisher->Publish({Payload(i)})) << i;
    broker.Settle();
  }
  const auto stats = broker.Stats("drop");
  EXPECT_GT(stats.dropped_messages_total(), 80u);
  ASSERT_FALSE(consumer->gaps.empty());
  EXPECT_EQ(consumer->gap_reason, pb::GAP_REASON_DROPPED);
  consumer->Grant(1'000);
  broker.Settle();
  ASSERT_FALSE(consumer->received.empty());
  EXPECT_EQ(consumer->received.size() + stats.dropped_messages_total(), 100u);
  EXPECT_EQ(consumer->received.back().payload, Payload(99));
}

// A batch is in memory until all of it is gone; what of it is gone makes room for
// messages all the same, or producer and queue would wait for each other.
TEST(BrokerTest, LargeBatchesMakeRoomRecordByRecord) {
  TestBroker broker;
  auto tuning = Tuning(pb::DURABILITY_MEMORY);
  tuning.set_window_messages(100);
  tuning.set_overflow(pb::OVERFLOW_POLICY_DROP_OLDEST);
  ASSERT_TRUE(broker.CreateQueue("drop", tuning).ok());
  auto publisher = broker.Publisher("drop");
  uint64_t sent = 0;
  for (int round = 0; sent < 1'000; ++round) {
    ASSERT_LT(round, 1'000) << "no room after " << sent;
    const uint64_t n = publisher->grant.limit.messages - publisher->handle->received().messages;
    if (n > 0) {
      ASSERT_TRUE(publisher->Publish(std::vector<std::string>(n, "x")));
      sent += n;
    }
    broker.Settle();
  }

  tuning.set_overflow(pb::OVERFLOW_POLICY_BLOCK);
  ASSERT_TRUE(broker.CreateQueue("block", tuning).ok());
  auto consumer = broker.Member("block", "g", 1'000);
  auto blocked = broker.Publisher("block");
  const auto fill = [&] {
    for (;;) {
      const uint64_t n = blocked->grant.limit.messages - blocked->handle->received().messages;
      if (n == 0) return;
      ASSERT_TRUE(blocked->Publish(std::vector<std::string>(n, "x")));
      broker.Settle();
    }
  };
  fill();
  const uint64_t limit = blocked->grant.limit.messages;
  ASSERT_GE(consumer->received.size(), 50u);
  consumer->Ack({0, 20});  // of the first batch
  broker.Settle();
  EXPECT_GT(blocked->grant.limit.messages, limit);
}

TEST(BrokerTest, RetriesParksAndReleases) {
  TestBroker broker;
  auto tuning = Tuning(pb::DURABILITY_SYNCED);
  tuning.set_max_attempts(2);
  tuning.set_backoff_initial_ms(100);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto consumer = broker.Member("q", "g");
  auto publisher = broker.Publisher("q");
  ASSERT_TRUE(publisher->Publish({"poison", "fine", "odd"}));
  broker.Settle();
  ASSERT_EQ(consumer->received.size(), 3u);
  consumer->Ack({1, 1});
  consumer->Settle({2, 1}, pb::SETTLE_ACTION_PARK);
  consumer->Settle({0, 1}, pb::SETTLE_ACTION_RETRY);
  broker.Settle();
  EXPECT_EQ(consumer->received.size(), 3u);
  broker.Advance(200);
  ASSERT_EQ(consumer->received.size(), 4u);
  EXPECT_EQ(consumer->received[3].offset, 0u);
  EXPECT_EQ(consumer->received[3].attempt, 2u);
  consumer->Settle({0, 1}, pb::SETTLE_ACTION_RETRY);
  broker.Settle();
  pb::ListParkedRequest list;
  list.set_queue("q");
  list.set_group("g");
  auto parked = broker.Call<pb::ListParkedResponse>(&Broker::ListParked, list);
  ASSERT_TRUE(parked.ok());
  ASSERT_EQ(parked->records_size(), 2);
  EXPECT_EQ(parked->records(0).offset(), 0u);
  EXPECT_EQ(parked->records(0).attempts(), 2u);
  pb::ReleaseParkedRequest release;
  release.set_queue("q");
  release.set_group("g");
  auto released = broker.Call<pb::ReleaseParkedResponse>(&Broker::ReleaseParked, release);
  ASSERT_TRUE(released.ok());
  EXPECT_EQ(released->released_messages(), 2u);
  broker.Settle();
  ASSERT_EQ(consumer->received.size(), 6u);
  EXPECT_EQ(consumer->received[4].payload, "poison");
  EXPECT_EQ(consumer->received[5].payload, "odd");
}

TEST(BrokerTest, ReadersReplayWithoutDisturbingGroups) {
  TestBroker broker;
  auto tuning = Tuning(pb::DURABILITY_SYNCED);
  tuning.set_retention(pb::RETENTION_LIMITS);
  tuning.set_window_bytes(16 << 10);
  tuning.set_max_message_bytes(1 << 10);
  ASSERT_TRUE(broker.CreateQueue("q", tuning).ok());
  auto consumer = broker.Member("q", "g");
  auto publisher = broker.Publisher("q");
  PublishAll(broker, *publisher, 0, 2'000, {consumer.get()});
  broker.Settle();
  pb::ConsumeOpen open;
  open.set_queue("q");
  open.mutable_reader()->mutable_start()->set_offset(500);
  open.mutable_reader()->mutable_stop()->set_offset(1'500);
  open.mutable_limit()->set_messages(1'000'000);
  open.mutable_limit()->set_bytes(1 << 30);
  auto reader = broker.Consumer(open);
  for (int i = 0; i < 50 && !reader->end; ++i) broker.Settle();
  ASSERT_TRUE(reader->end);
  EXPECT_EQ(*reader->end, 1'500u);
  ExpectInOrder(*reader, 500, 1'000);
  EXPECT_TRUE(reader->finished);
  EXPECT_EQ(broker.Stats("q").depth_messages(), 0u);

  pb::PurgeQueueRequest purge;
  purge.set_name("q");
  purge.set_before_offset(1'000);
  ASSERT_TRUE(broker.Call<pb::PurgeQueueResponse>(&Broker::PurgeQueue, purge).ok());
  auto refused = broker.Consumer(open);
  ASSERT_TRUE(refused->closed);
  EXPECT_EQ(refused->closed->kind, ErrorKind::kOutOfRange);
  EXPECT_EQ(refused->closed->head, 1'000u);
}

// The time of a record is that of its arrival, not of the batch before it.
TEST(BrokerTest, RecordsAreStampedWhenTheyArrive) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Tuning(pb::DURABILITY_MEMORY)).ok());
  auto publisher = broker.Publisher("q");
  ASSERT_TRUE(publisher->Publish({"before"}));
  broker.Settle();
  broker.now.unix_ms += 500;
  broker.Of("q").SetNow(broker.now);
  ASSERT_TRUE(publisher->Publish({"after"}));
  broker.Settle();
  pb::ConsumeOpen open;
  open.set_queue("q");
  open.mutable_reader()->mutable_start()->set_time_unix_ms(broker.now.unix_ms);
  open.mutable_limit()->set_messages(10);
  open.mutable_limit()->set_bytes(1'000);
  auto reader = broker.Consumer(std::move(open));
  ASSERT_EQ(reader->received.size(), 1u);
  EXPECT_EQ(reader->received[0].payload, "after");
}

TEST(BrokerTest, UnknownQueuesAreNotCreatedByATypo) {
  TestBroker broker;
  auto publisher = broker.Publisher("ordres");
  ASSERT_TRUE(publisher->closed);
  EXPECT_EQ(publisher->closed->kind, ErrorKind::kNotFound);
  auto bad = broker.CreateQueue(".hidden", {});
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().kind, ErrorKind::kInvalidArgument);
  pb::QueueTuning tuning;
  tuning.set_window_bytes(1);
  auto small = broker.CreateQueue("q", tuning);
  ASSERT_FALSE(small.ok());
  EXPECT_EQ(small.error().field, "tuning.window_bytes");
}

TEST(BrokerTest, OpensWaitForAQueueThatIsBeingCreated) {
  TestBroker broker(nullptr, uint64_t{1} << 30, true);
  TestPublisher publisher;
  TestConsumer consumer;
  TestConsumer left;
  pb::ConsumeOpen open;
  open.set_queue("orders");
  open.mutable_group()->set_group("g");
  publisher.handle =
      broker.Of("orders").OpenPublisher({.queue = "orders", .producer_id = "p"}, &publisher);
  consumer.handle = broker.Of("orders").OpenConsumer({open, ""}, &consumer);
  left.handle = broker.Of("orders").OpenConsumer({open, ""}, &left);
  left.handle.reset();
  broker.SettleWithoutStore();
  EXPECT_FALSE(publisher.opened || publisher.closed || consumer.opened || consumer.closed);
  broker.Settle();
  EXPECT_TRUE(publisher.opened);
  EXPECT_TRUE(consumer.opened);
  EXPECT_FALSE(left.opened || left.closed);

  // Waiting is for opens: a second creation is told at once.
  TestPublisher first;
  first.handle = broker.Of("other").OpenPublisher({.queue = "other", .producer_id = "p"}, &first);
  EXPECT_EQ(broker.CreateQueue("other", {}).error().kind, ErrorKind::kAlreadyExists);
  EXPECT_TRUE(first.opened);
}

TEST(BrokerTest, DrainTellsEverybodyAndKeepsMemoryQueues) {
  std::unique_ptr<storage::MemoryStore> after;
  {
    TestBroker broker;
    ASSERT_TRUE(broker.CreateQueue("q", Tuning(pb::DURABILITY_MEMORY)).ok());
    auto consumer = broker.Member("q", "g", 0);
    auto publisher = broker.Publisher("q");
    PublishAll(broker, *publisher, 0, 100);
    bool done = false;
    broker->Drain([&] { done = true; });
    broker.Settle();
    EXPECT_TRUE(publisher->drained);
    EXPECT_TRUE(consumer->drained);
    publisher->handle->Close();
    broker.Settle();
    EXPECT_TRUE(publisher->finished);
    EXPECT_TRUE(done);
    after = broker.store().CrashClone(storage::Level::kFsync);
    publisher->handle.reset();
    consumer->handle.reset();
  }
  TestBroker broker(std::move(after));
  auto consumer = broker.Member("q", "g");
  for (int i = 0; i < 10; ++i) broker.Settle();
  ExpectInOrder(*consumer, 0, 100);
  EXPECT_TRUE(consumer->gaps.empty());
}

TEST(BrokerTest, SettingsChangeWhileItRuns) {
  TestBroker broker;
  ASSERT_TRUE(broker.CreateQueue("q", Tuning(pb::DURABILITY_SYNCED)).ok());
  auto publisher = broker.Publisher("q");
  pb::UpdateQueueRequest update;
  update.set_name("q");
  update.set_expected_revision(7);
  auto stale = broker.Call<pb::UpdateQueueResponse>(&Broker::UpdateQueue, update);
  ASSERT_FALSE(stale.ok());
  EXPECT_EQ(stale.error().kind, ErrorKind::kRevisionMismatch);
  update.set_expected_revision(1);
  update.mutable_tuning()->set_durability(pb::DURABILITY_MEMORY);
  auto updated = broker.Call<pb::UpdateQueueResponse>(&Broker::UpdateQueue, update);
  ASSERT_TRUE(updated.ok());
  EXPECT_EQ(updated->queue().revision(), 2u);
  EXPECT_EQ(publisher->opened->revision, 2u);
  broker.Settle();
  ASSERT_TRUE(publisher->Publish({"x"}));
  broker.Settle();
  EXPECT_EQ(publisher->confirmed(), 1u);
}

}  // namespace
}  // namespace spillway::runtime
