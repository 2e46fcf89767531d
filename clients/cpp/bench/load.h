// Loads on a broker, measured: what `spillway bench` and tests/bench run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "clients/cpp/bench/histogram.h"
#include "clients/cpp/spillway/client.h"

namespace spillway::bench {

// Records of one size, in frames of so many.
struct Shape {
  uint32_t record_bytes = 100;
  uint32_t batch = 100;
};

// A payload whose first half is random and whose second half is not, so that it
// compresses like real data would.
std::string HalfRandom(uint32_t bytes, uint64_t seed);
client::EncodedBatch MakeBatch(const Shape& shape);
// Nanoseconds of the machine's monotonic clock, the same in every process.
uint64_t MonotonicNanos();

// Returns true when the load should end; called often.
using StopFn = std::function<bool()>;

struct PublishOptions {
  client::ClientOptions client;
  std::string queue;
  Shape shape;
  uint64_t count = 0;  // records; 0: no limit
  double seconds = 0;  // 0: no limit
  double rate = 0;     // records per second; 0: as fast as credit allows
  StopFn stop;
};
struct PublishReport {
  uint64_t records = 0;  // confirmed
  double seconds = 0;    // from the first sent to the last confirmed
  uint64_t refused = 0;
  Histogram confirm;  // of each batch, from its sending
};
// Closed loop (or open, with a rate): sends encoded batches.
client::Result<PublishReport> RunPublish(const PublishOptions& options);

struct ConsumeOptions {
  client::ClientOptions client;
  std::string queue;
  std::string group = "bench";
  double warmup_seconds = 0;  // not measured, from the first record on
  double seconds = 0;         // measured; 0: until `count` or `stop`
  double first_seconds = 0;   // how long to wait for the first record; 0: for ever
  uint64_t count = 0;
  uint64_t max_in_flight_messages = 100'000;
  uint64_t max_in_flight_bytes = 64 << 20;
  StopFn stop;
};
struct ConsumeReport {
  uint64_t records = 0;  // in the measured time
  uint64_t bytes = 0;
  double seconds = 0;
  uint64_t total = 0;  // warm-up included
};
// Receives and settles.
client::Result<ConsumeReport> RunConsume(const ConsumeOptions& options);
// Reads what is kept, from the beginning to the tail.
client::Result<ConsumeReport> RunReplay(const ConsumeOptions& options);

struct LatencyOptions {
  client::ClientOptions client;
  std::string queue;
  std::string group = "bench";
  uint32_t record_bytes = 1024;
  double rate = 2000;
  double seconds = 5;
  double warmup_seconds = 1;
  StopFn stop;
};
struct LatencyReport {
  uint64_t sent = 0;
  uint64_t received = 0;
  double seconds = 0;
  Histogram confirm;   // from the intended send time to the confirmation
  Histogram delivery;  // from the intended send time to the consumer's hands
};
// Open loop: each record is sent at its time, alone, whatever became of those
// before it, and measured from when it should have been sent.
client::Result<LatencyReport> RunLatency(const LatencyOptions& options);

}  // namespace spillway::bench
