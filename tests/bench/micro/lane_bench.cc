// The core of a queue: a batch from its publish to its last settle, in the order of
// calls in which the runtime flushes a lane.
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "broker/queue/lane.h"
#include "tests/bench/micro/shapes.h"

namespace spillway::bench {
namespace {

constexpr queue::MemberId kMember = 1;
constexpr Credit kMuch{1'000'000, uint64_t{1} << 30};

// One group; every batch is delivered whole, settled at once, and let go.
void Flow(benchmark::State& state, Durability durability) {
  queue::Tuning tuning;
  tuning.durability = durability;
  queue::Lane lane(tuning);
  queue::Group* group = lane.AddGroup("g", queue::GroupMode::kShared, 0);
  const queue::RetryRules rules{.max_attempts = 5,
                                .backoff = [](uint32_t) { return MonoNanos{1}; }};
  const wire::Records records = RecordsOf(state);
  const Now now{.mono = 1, .unix_ms = 1'800'000'000'000};
  queue::LogPosition position = 0;
  for ([[maybe_unused]] auto _ : state) {
    const Offset first = lane.Publish(records, {}, now);
    if (durability != Durability::kMemory) {
      while (lane.NextToStore({}) != nullptr) {
        lane.MarkStoring();
        lane.Stored(++position);
      }
    }
    wire::Delivery delivery;
    queue::DiskRead read;
    std::vector<OffsetRange> gap;
    const auto outcome =
        lane.Deliver(*group, kMember, kMuch, kMuch, now, std::numeric_limits<MonoNanos>::max(),
                     &delivery, &read, &gap);
    if (outcome != queue::Outcome::kDelivered) throw std::logic_error("nothing was delivered");
    group->Settle({first, records.count()}, kMember, queue::SettleAction::kAck, 0, "", now, rules);
    lane.AdvanceHead(lane.SettledHead(), queue::GoneReason::kRetention);
    lane.EvictTo(0, 0);
  }
  if (lane.head() != lane.tail()) throw std::logic_error("something was left");
  CountRecords(state);
}
BENCHMARK_CAPTURE(Flow, memory, Durability::kMemory)->Apply(Shapes);
BENCHMARK_CAPTURE(Flow, persisted, Durability::kPersisted)->Apply(Shapes);

// A batch that is settled one record after another, the even ones first: what a group
// of several members does to its cursor.
void SettleOneByOne(benchmark::State& state) {
  queue::Group group("g", queue::GroupMode::kShared, 0);
  const queue::RetryRules rules{.max_attempts = 5,
                                .backoff = [](uint32_t) { return MonoNanos{1}; }};
  const Now now{.mono = 1, .unix_ms = 1'800'000'000'000};
  const auto count = static_cast<uint64_t>(state.range(0));
  Offset first = 0;
  for ([[maybe_unused]] auto _ : state) {
    group.DeliverFresh({first, count}, 100 * count, kMember, 1'000'000'000);
    for (const uint64_t odd : {0, 1}) {
      for (Offset at = first + odd; at < first + count; at += 2) {
        group.Settle({at, 1}, kMember, queue::SettleAction::kAck, 0, "", now, rules);
      }
    }
    first += count;
  }
  if (group.cursor() != first) throw std::logic_error("not all are settled");
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(SettleOneByOne)->ArgName("records")->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace spillway::bench
