// A set of offsets kept as disjoint, non-adjacent ranges.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/btree_map.h"
#include "broker/base/types.h"

namespace spillway::queue {

// Most sets hold one or two ranges however many offsets they name, because
// consumers settle nearly in order.
// Invariant: ranges are non-empty, disjoint, and never touch.
// Thread-safety: none.
class RangeSet {
 public:
  bool empty() const { return ranges_.empty(); }
  size_t range_count() const { return ranges_.size(); }
  // Offsets in the set. O(1).
  uint64_t count() const { return count_; }
  // REQUIRES: !empty().
  Offset first() const { return ranges_.begin()->first; }
  OffsetRange first_range() const;

  bool Contains(Offset offset) const;
  // Adds a range; returns how many offsets were new.
  uint64_t Add(OffsetRange range);
  // Removes a range; returns how many offsets were there.
  uint64_t Remove(OffsetRange range);
  void RemoveBelow(Offset offset);
  void Clear();
  // The lowest offset at or after `offset` that is not in the set.
  Offset NextOutside(Offset offset) const;
  // The lowest offset at or after `offset` that is in the set, or max.
  Offset NextInside(Offset offset) const;
  // The parts of `range` that are in the set, in order.
  std::vector<OffsetRange> Intersect(OffsetRange range) const;
  // The parts of `range` that are not, in order.
  std::vector<OffsetRange> Missing(OffsetRange range) const;
  std::vector<OffsetRange> ToVector() const;

 private:
  absl::btree_map<Offset, Offset> ranges_;  // first -> end
  uint64_t count_ = 0;
};

}  // namespace spillway::queue
