// The splicer: a delivery made of batches by reference, and the head of its frame.
#include <algorithm>
#include <string>

#include "broker/wire/delivery.h"
#include "tests/bench/micro/shapes.h"

namespace spillway::bench {
namespace {

// A delivery of one batch, in runs of `records` each: one where nothing was delivered
// before, many where a group has settled every other record.
void Splice(benchmark::State& state) {
  const wire::Records records = RecordsOf(state);
  const auto run = static_cast<uint32_t>(state.range(2));
  for ([[maybe_unused]] auto _ : state) {
    wire::Delivery delivery;
    for (uint32_t first = 0; first < records.count(); first += run) {
      const uint32_t count = std::min(run, records.count() - first);
      delivery.runs.push_back({.first = 1'000'000 + 2 * first,
                               .count = count,
                               .appended_at = 1'800'000'000'000,
                               .attempt = 1});
      delivery.fields.push_back(records.FieldsSlice(first, count));
      delivery.cost += records.Cost(first, count);
    }
    std::string head = wire::EncodeDeliveryHeader(delivery);
    benchmark::DoNotOptimize(head);
  }
  CountRecords(state);
}
BENCHMARK(Splice)
    ->ArgNames({"bytes", "records", "run"})
    ->Args({100, 100, 100})
    ->Args({100, 100, 1})
    ->Args({1024, 100, 100})
    ->Args({65536, 16, 16});

}  // namespace
}  // namespace spillway::bench
