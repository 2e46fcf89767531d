// What the shards of one broker do together: the list of queues, limits, lists over
// all queues, the drain.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "broker/runtime/broker.h"
#include "broker/runtime/test_client.h"

namespace spillway::runtime {
namespace {

using testing::TestBroker;

constexpr uint64_t kBudget = uint64_t{1} << 30;

std::string QueueName(int i) { return "q" + std::to_string(100 + i); }

// One of each queue.
std::vector<std::unique_ptr<testing::TestPublisher>> Publishers(TestBroker& broker, size_t queues) {
  std::vector<std::unique_ptr<testing::TestPublisher>> publishers(queues);
  for (size_t q = 0; q < queues; ++q) {
    publishers[q] = broker.Publisher(QueueName(static_cast<int>(q)));
  }
  return publishers;
}

TEST(Shards, AQueueBelongsToOneAndAllGetSome) {
  std::map<size_t, int> queues;
  for (int i = 0; i < 1'000; ++i) {
    const std::string name = QueueName(i);
    EXPECT_EQ(ShardOf(name, 1), 0u);
    EXPECT_EQ(ShardOf(name, 7), ShardOf(name, 7));
    ++queues[ShardOf(name, 4)];
  }
  ASSERT_EQ(queues.size(), 4u);
  for (const auto& [shard, count] : queues) EXPECT_GT(count, 180) << shard;
}

// The number of shards may be another at each start.
TEST(Shards, ARestartWithAnotherNumberFindsEverything) {
  constexpr int kQueues = 20;
  std::unique_ptr<storage::MemoryStore> store;
  int records = 0;
  for (const size_t shards : {3, 1, 2, 5, 3}) {
    TestBroker broker(std::move(store), kBudget, false, shards);
    for (int q = 0; q < kQueues; ++q) {
      const std::string name = QueueName(q);
      if (records == 0) {
        ASSERT_TRUE(broker.CreateQueue(name, {}).ok());
      }
      auto publisher = broker.Publisher(name, "p");
      ASSERT_TRUE(publisher->opened) << name;
      EXPECT_EQ(publisher->opened->next_sequence, static_cast<uint64_t>(records) + 1);
      ASSERT_TRUE(publisher->Publish({name + "/" + std::to_string(records)}));
      broker.Settle();
      EXPECT_EQ(publisher->confirmed(), 1u);
    }
    ++records;
    for (int q = 0; q < kQueues; ++q) {
      pb::ConsumeOpen open;
      open.set_queue(QueueName(q));
      open.mutable_reader();
      open.mutable_limit()->set_messages(1'000);
      open.mutable_limit()->set_bytes(1 << 20);
      auto reader = broker.Consumer(std::move(open));
      ASSERT_EQ(reader->received.size(), static_cast<size_t>(records));
      for (int i = 0; i < records; ++i) {
        EXPECT_EQ(reader->received[static_cast<size_t>(i)].payload,
                  QueueName(q) + "/" + std::to_string(i));
      }
    }
    store = broker.store().CrashClone(storage::Level::kFsync);
  }
}

TEST(Shards, AQueueThatIsDeletedStaysSo) {
  TestBroker broker(nullptr, kBudget, false, 3);
  for (int q = 0; q < 6; ++q) ASSERT_TRUE(broker.CreateQueue(QueueName(q), {}).ok());
  for (int q = 0; q < 3; ++q) {
    pb::DeleteQueueRequest request;
    request.set_name(QueueName(q));
    ASSERT_TRUE(broker.Call<pb::DeleteQueueResponse>(&Broker::DeleteQueue, request).ok());
  }
  ASSERT_TRUE(broker.CreateQueue(QueueName(0), {}).ok());
  TestBroker after(broker.store().CrashClone(storage::Level::kFsync), kBudget, false, 2);
  const auto listed =
      after.Call<pb::ListQueuesResponse>(&Broker::ListQueues, pb::ListQueuesRequest());
  ASSERT_TRUE(listed.ok());
  std::vector<std::string> names;
  for (const auto& queue : listed->queues()) names.push_back(queue.name());
  EXPECT_EQ(names, (std::vector<std::string>{"q100", "q103", "q104", "q105"}));
}

TEST(Shards, LimitsAreOfTheWholeBroker) {
  TestBroker broker(nullptr, kBudget, false, 3, 5, 4);
  for (int q = 0; q < 5; ++q) ASSERT_TRUE(broker.CreateQueue(QueueName(q), {}).ok());
  for (int q = 5; q < 12; ++q) {
    const auto more = broker.CreateQueue(QueueName(q), {});
    ASSERT_FALSE(more.ok());
    EXPECT_EQ(more.error().kind, ErrorKind::kLimitReached);
    EXPECT_EQ(more.error().limit, 5u);
  }
  pb::DeleteQueueRequest request;
  request.set_name(QueueName(1));
  ASSERT_TRUE(broker.Call<pb::DeleteQueueResponse>(&Broker::DeleteQueue, request).ok());
  EXPECT_TRUE(broker.CreateQueue(QueueName(9), {}).ok());

  std::vector<std::unique_ptr<testing::TestPublisher>> publishers;
  for (const int q : {0, 2, 3, 4}) {
    publishers.push_back(broker.Publisher(QueueName(q)));
    EXPECT_TRUE(publishers.back()->opened);
  }
  auto fifth = broker.Publisher(QueueName(0));
  ASSERT_TRUE(fifth->closed);
  EXPECT_EQ(fifth->closed->kind, ErrorKind::kLimitReached);
  publishers.erase(publishers.begin());
  broker.Settle();
  EXPECT_TRUE(broker.Publisher(QueueName(9))->opened);
}

TEST(Shards, ListsAreSortedAndPagedOverAll) {
  TestBroker broker(nullptr, kBudget, false, 3);
  std::vector<std::unique_ptr<testing::TestPublisher>> publishers;
  std::vector<std::string> queues;
  std::set<std::string> sessions;
  for (int q = 0; q < 12; ++q) {
    queues.push_back(QueueName(q));
    ASSERT_TRUE(broker.CreateQueue(queues.back(), {}).ok());
    publishers.push_back(broker.Publisher(queues.back()));
    sessions.insert(publishers.back()->opened->session);
  }
  EXPECT_EQ(sessions.size(), 12u);
  for (size_t shard = 0; shard < 3; ++shard) {
    for (const uint32_t size : {1, 4, 5, 11, 12, 0}) {
      std::vector<std::string> names;
      pb::ListQueuesRequest request;
      request.set_prefix("q");
      request.set_page_size(size);
      do {
        auto page = broker.CallOn<pb::ListQueuesResponse>(broker.Shard(shard), &Broker::ListQueues,
                                                          request);
        ASSERT_TRUE(page.ok());
        for (const auto& queue : page->queues()) names.push_back(queue.name());
        EXPECT_TRUE(size == 0 || page->queues_size() == static_cast<int>(size) ||
                    page->next_page_token().empty());
        request.set_page_token(page->next_page_token());
      } while (!request.page_token().empty());
      EXPECT_EQ(names, queues) << size;

      std::vector<std::string> ids;
      pb::ListSessionsRequest list;
      list.set_page_size(size);
      do {
        auto page = broker.CallOn<pb::ListSessionsResponse>(broker.Shard(shard),
                                                            &Broker::ListSessions, list);
        ASSERT_TRUE(page.ok());
        for (const auto& session : page->sessions()) ids.push_back(session.id());
        list.set_page_token(page->next_page_token());
      } while (!list.page_token().empty());
      EXPECT_EQ(ids, std::vector<std::string>(sessions.begin(), sessions.end())) << size;
    }
  }
  pb::ListQueuesRequest greedy;
  greedy.set_page_size(1'001);
  auto refused = broker.Call<pb::ListQueuesResponse>(&Broker::ListQueues, greedy);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().field, "page_size");
}

TEST(Shards, ASessionIsFoundFromAnyOfThem) {
  TestBroker broker(nullptr, kBudget, true, 3);
  for (size_t shard = 0; shard < 3; ++shard) {
    auto publisher = broker.Publisher("q");
    pb::ExplainRequest explain;
    explain.set_session(publisher->opened->session);
    EXPECT_TRUE(
        broker.CallOn<pb::ExplainResponse>(broker.Shard(shard), &Broker::Explain, explain).ok());
    pb::CloseSessionRequest close;
    close.set_id(publisher->opened->session);
    EXPECT_TRUE(
        broker.CallOn<pb::CloseSessionResponse>(broker.Shard(shard), &Broker::CloseSession, close)
            .ok());
    broker.Settle();
    EXPECT_TRUE(publisher->closed);
    close.set_id("s-nobody");
    const auto none =
        broker.CallOn<pb::CloseSessionResponse>(broker.Shard(shard), &Broker::CloseSession, close);
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(none.error().kind, ErrorKind::kNotFound);
    EXPECT_EQ(none.error().field, "id");
  }
}

TEST(Shards, ASnapshotIsOfAll) {
  TestBroker broker(nullptr, kBudget, true, 3);
  const auto publishers = Publishers(broker, 9);
  const auto snapshot =
      broker.CallOn<pb::WatchResponse>(broker.Shard(1), &Broker::Snapshot, pb::WatchRequest());
  ASSERT_TRUE(snapshot.ok());
  ASSERT_EQ(snapshot->queues_size(), 9);
  for (int q = 0; q < 9; ++q) EXPECT_EQ(snapshot->queues(q).name(), QueueName(q));
  EXPECT_EQ(snapshot->broker().sessions(), 9u);
  std::optional<Broker::Observed> observed;
  broker.Shard(2).Observe([&](Result<Broker::Observed> o) { observed = std::move(*o); });
  broker.Settle();
  ASSERT_TRUE(observed);
  ASSERT_EQ(observed->delivery_seconds.size(), 9u);
  EXPECT_EQ(observed->delivery_seconds[8].first, QueueName(8));
}

TEST(Shards, ADrainIsOfAllAndEndsOnce) {
  TestBroker broker(nullptr, kBudget, true, 3);
  const auto publishers = Publishers(broker, 9);
  int done = 0;
  broker->Drain([&] { ++done; });
  broker.Settle();
  EXPECT_EQ(done, 0);
  for (const auto& publisher : publishers) {
    EXPECT_TRUE(publisher->drained);
    publisher->handle->Close();
  }
  broker.Settle();
  EXPECT_EQ(done, 1);
}

TEST(Shards, AFailedStoreIsToldToAll) {
  TestBroker broker(nullptr, kBudget, true, 3);
  const auto publishers = Publishers(broker, 9);
  broker.store().Poison("the disk is gone");
  broker.Settle();
  for (size_t shard = 0; shard < 3; ++shard) {
    ASSERT_TRUE(broker.Shard(shard).failure());
    EXPECT_EQ(broker.Shard(shard).failure()->kind, ErrorKind::kStoreFailed);
    EXPECT_FALSE(broker.Shard(shard).ready());
  }
  for (const auto& publisher : publishers) EXPECT_TRUE(publisher->closed);
}

}  // namespace
}  // namespace spillway::runtime
