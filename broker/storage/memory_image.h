// The contents of a MemoryStore: what a disk would hold.
#pragma once

#include <map>
#include <vector>

#include "broker/storage/log_store.h"

namespace spillway::storage {

struct MemoryLane {
  std::map<Position, Entry> data;
  std::map<Position, Entry> control;  // and snapshots
  std::map<Position, Epoch> fences;
  Position next = 1;
  Position trimmed = 0;
  Position snapshot = 0;

  // Whether an entry there with that epoch counts: see log_store.h.
  bool IsValid(Position position, Epoch epoch) const {
    auto it = fences.lower_bound(position);
    return it != fences.begin() && std::prev(it)->second == epoch;
  }
};

// One write to the log. Applied in order, changes make an image.
struct MemoryChange {
  enum class Type : uint8_t { kEntry, kFence, kTrim, kRemove };
  Type type = Type::kEntry;
  LaneId lane;
  Entry entry;  // kFence: position and epoch; kTrim: position is up to where
};

struct MemoryImage {
  std::map<LaneId, MemoryLane> lanes;
  Epoch last_epoch = 0;
  void Apply(const MemoryChange& change);
};

}  // namespace spillway::storage
