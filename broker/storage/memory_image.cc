#include "broker/storage/memory_image.h"

#include <algorithm>

namespace spillway::storage {

void MemoryImage::Apply(const MemoryChange& change) {
  if (change.type == MemoryChange::Type::kRemove) {
    lanes.erase(change.lane);
    return;
  }
  MemoryLane& lane = lanes[change.lane];
  const Entry& e = change.entry;
  switch (change.type) {
    case MemoryChange::Type::kEntry:
      (e.kind == Kind::kData ? lane.data : lane.control).emplace(e.position, e);
      if (e.kind == Kind::kSnapshot) lane.snapshot = e.position;
      lane.next = std::max(lane.next, e.position + 1);
      break;
    case MemoryChange::Type::kFence:
      lane.fences.emplace(e.position, e.epoch);
      lane.next = std::max(lane.next, e.position + 1);
      last_epoch = std::max(last_epoch, e.epoch);
      break;
    case MemoryChange::Type::kTrim:
      lane.trimmed = std::max(lane.trimmed, std::min(e.position, lane.next));
      lane.data.erase(lane.data.begin(), lane.data.lower_bound(lane.trimmed));
      lane.control.erase(lane.control.begin(),
                         lane.control.lower_bound(std::min(lane.trimmed, lane.snapshot)));
      break;
    case MemoryChange::Type::kRemove:
      break;
  }
}

}  // namespace spillway::storage
