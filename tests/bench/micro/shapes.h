// What the micro-benchmarks share: batches as clients send them, and rates of records.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <stdexcept>

#include "broker/wire/batch.h"
#include "broker/wire/buffer.h"
#include "broker/wire/publish_scan.h"
#include "tests/bench/limits/frames.h"

namespace spillway::bench {

// The first two arguments of a benchmark: the shape of its batches.
inline void Shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"bytes", "records"})->Args({100, 100})->Args({1024, 100})->Args({65536, 16});
}

inline Shape ShapeOf(const benchmark::State& state) {
  return {.record_bytes = static_cast<uint32_t>(state.range(0)),
          .batch = static_cast<uint32_t>(state.range(1))};
}

// The frame that a client sends, as the broker holds it.
inline wire::Buffer FrameOf(const benchmark::State& state) {
  return wire::Buffer::Copy(PublishFrame(ShapeOf(state)));
}

// The records of that frame.
inline wire::Records RecordsOf(const benchmark::State& state) {
  auto frame = wire::ScanPublish(FrameOf(state), {});
  if (!frame) throw std::runtime_error(frame.error().message);
  return frame->records;
}

// Items are records; each iteration is of `batches`.
inline void CountRecords(benchmark::State& state, int64_t batches = 1) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * batches * state.range(1));
}

// And bytes are those of payloads: for what scans, writes or reads them, not for what
// passes them on by reference.
inline void CountRecordsAndBytes(benchmark::State& state, int64_t batches = 1) {
  CountRecords(state, batches);
  state.SetBytesProcessed(state.items_processed() * state.range(0));
}

}  // namespace spillway::bench
