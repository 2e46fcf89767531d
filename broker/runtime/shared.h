// What the shards of one broker share.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "broker/credit/memory_budget.h"

namespace spillway::runtime {

class BrokerImpl;

// Thread-safety: the counts and the budget are; `shards` changes only while no shard
// runs.
struct Shared {
  Shared(uint64_t memory_budget_bytes, size_t shards)
      : budget(memory_budget_bytes, static_cast<uint32_t>(shards)), recovering(shards) {}

  std::vector<BrokerImpl*> shards;
  credit::MemoryBudget budget;
  // Towards max_sessions and max_queues.
  std::atomic<uint32_t> sessions = 0;
  std::atomic<uint32_t> queues = 0;
  // Shards that have not restored their queues yet.
  std::atomic<size_t> recovering;
};

// Counts one more, unless there are as many as may be.
inline bool CountOneMore(std::atomic<uint32_t>& count, uint32_t most) {
  if (count.fetch_add(1, std::memory_order_relaxed) < most) return true;
  count.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

}  // namespace spillway::runtime
