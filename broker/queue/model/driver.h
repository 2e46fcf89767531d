// Drives a lane at random, as the runtime would and as badly as peers, disks and
// crashes allow, with an auditor beside it.
#pragma once

#include <cstdint>
#include <string>

#include "broker/queue/model/fault.h"

namespace spillway::queue::model {

// How often things happened, so that a run in which they did not is noticed.
struct Counts {
  uint64_t acked = 0;
  uint64_t delivered = 0;
  uint64_t redelivered = 0;
  uint64_t read_by_readers = 0;
  uint64_t disk_reads = 0;
  uint64_t lost_gaps = 0;
  uint64_t removal_gaps = 0;
  uint64_t parked = 0;
  uint64_t reclaimed = 0;
  uint64_t revoked = 0;
  uint64_t evicted = 0;
  uint64_t trims = 0;
  uint64_t crashes = 0;

  Counts& operator+=(const Counts& o);
};

struct RunResult {
  std::string failure;   // empty: none
  uint64_t history = 0;  // a hash of everything that was observed
  Counts counts;
};

// The same arguments give the same result, to the bit.
RunResult RunModel(uint64_t seed, int operations, Fault fault = Fault::kNone);

}  // namespace spillway::queue::model
