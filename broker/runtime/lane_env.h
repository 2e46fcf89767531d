// What the lanes of one shard share.
#pragma once

#include <cstdint>

#include "broker/base/random.h"
#include "broker/base/types.h"
#include "broker/credit/memory_budget.h"
#include "broker/credit/policy.h"
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
  Random* random = nullptr;
  StreamRegistry* streams = nullptr;
  // Why no producer of any queue may be granted anything; kNone usually.
  credit::Reason stop = credit::Reason::kNone;
  // The moment of the batch that is being run.
  Now now;
  // The lane has something to do in this batch.
  virtual void MarkDirty(LaneActor* lane) = 0;

 protected:
  ~LaneEnv() = default;
};

}  // namespace spillway::runtime
