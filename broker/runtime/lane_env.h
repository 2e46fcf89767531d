// What the lanes of one shard share.
#pragma once

#include <cstdint>

#include "broker/base/random.h"
#include "broker/base/types.h"
#include "broker/credit/memory_budget.h"
#include "broker/credit/policy.h"
#include "broker/credit/spill_pace.h"
#include "broker/runtime/inbox.h"
#include "broker/runtime/stream.h"
#include "broker/storage/log_store.h"

namespace spillway::runtime {

class LaneActor;

// Thread-safety: shard thread only, but for store and inbox.
struct LaneEnv {
  storage::LogStore* store = nullptr;
  Inbox* inbox = nullptr;
  credit::MemoryBudget* budget = nullptr;
  credit::Policy* policy = nullptr;
  credit::SpillPace* pace = nullptr;
  Random* random = nullptr;
  StreamRegistry* streams = nullptr;
  // Why no producer of any queue may be granted anything; kNone usually.
  credit::Reason stop = credit::Reason::kNone;
  // The store is slow: running producers get half.
  bool slow = false;
  // Whether records may be given to the store; control entries always may.
  bool store_takes_records = true;
  // Of records, that all lanes have given the store.
  uint64_t appended_bytes = 0;
  // The moment of the batch that is being run.
  Now now;
  // The lane has something to do in this batch.
  virtual void MarkDirty(LaneActor* lane) = 0;
  // The lane has given the store a record.
  virtual void Storing(LaneActor* lane) = 0;
  // The store has taken this long for a record.
  virtual void Committed(MonoNanos latency) = 0;

 protected:
  ~LaneEnv() = default;
};

}  // namespace spillway::runtime
