// The scanner: a frame that came in, and a batch that was read back.
#include "tests/bench/micro/shapes.h"

namespace spillway::bench {
namespace {

void ScanPublish(benchmark::State& state) {
  const wire::Buffer frame = FrameOf(state);
  for ([[maybe_unused]] auto _ : state) {
    auto scanned = wire::ScanPublish(frame, {});
    benchmark::DoNotOptimize(scanned);
  }
  CountRecordsAndBytes(state);
}
BENCHMARK(ScanPublish)->Apply(Shapes);

void ScanStored(benchmark::State& state) {
  const wire::Records records = RecordsOf(state);
  const wire::Slice fields = records.FieldsSlice(0, records.count());
  for ([[maybe_unused]] auto _ : state) {
    auto scanned = wire::ScanStored(fields.buffer, fields.begin, fields.length, records.count());
    benchmark::DoNotOptimize(scanned);
  }
  CountRecordsAndBytes(state);
}
BENCHMARK(ScanStored)->Apply(Shapes);

}  // namespace
}  // namespace spillway::bench
