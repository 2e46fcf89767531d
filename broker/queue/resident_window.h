// The tail of the log that is in memory.
#pragma once

#include <cstdint>
#include <deque>

#include "broker/base/types.h"
#include "broker/queue/batch.h"

namespace spillway::queue {

// Always a contiguous run of batches that ends at the tail. Three marks, in this
// order, say how far the store is with it:
//
//   begin ..... stored_end ..... storing_end ..... end
//         on disk        on its way        memory only
//
// What is on disk can be evicted from the front at any time; the rest cannot.
// A queue that keeps everything moves storing_end to the end at once; one that
// keeps only what overflows moves it when the window is short.
// Thread-safety: none.
class ResidentWindow {
 public:
  // An empty window at `tail`.
  explicit ResidentWindow(Offset tail = 0)
      : begin_(tail), stored_end_(tail), storing_end_(tail), end_(tail) {}

  Offset begin() const { return begin_; }
  Offset stored_end() const { return stored_end_; }
  Offset storing_end() const { return storing_end_; }
  Offset end() const { return end_; }

  // REQUIRES: batch.first == end().
  void Append(Batch batch);
  // The batch that holds `offset`, or null if it is not resident. O(log n).
  const Batch* Find(Offset offset) const;
  // The first batch appended at or after `time`, or null.
  const Batch* FindTime(UnixMillis time) const;
  // The first batch that is neither on disk nor on its way, or null.
  const Batch* NextToStore() const;
  // The batch that NextToStore gave is on its way.
  void MarkStoring();
  // The oldest batch on its way has reached the disk, where it is at `position`.
  // REQUIRES: storing_end() > stored_end(). Returns it (still resident).
  const Batch& MarkStored(LogPosition position);
  // Drops the oldest batch. REQUIRES: CanEvict().
  void EvictFront();
  // Whether the oldest batch is on disk, or wholly below `head` and not on its way.
  bool CanEvict(Offset head) const;

  uint64_t messages() const { return end_ - begin_; }
  size_t batches() const { return batches_.size(); }
  // Memory of all batches, index and bookkeeping included.
  uint64_t footprint_bytes() const { return footprint_bytes_; }
  // Of those that are not on disk.
  uint64_t unstored_footprint_bytes() const { return unstored_footprint_bytes_; }
  uint64_t unstored_messages() const { return end_ - stored_end_; }
  // Of those on their way.
  uint64_t storing_footprint_bytes() const { return storing_footprint_bytes_; }

  // What one batch costs in memory.
  static uint64_t Footprint(const Batch& batch);

 private:
  std::deque<Batch> batches_;
  // Index in batches_ of the first batch at or after the mark.
  size_t stored_index_ = 0;
  size_t storing_index_ = 0;
  Offset begin_;
  Offset stored_end_;
  Offset storing_end_;
  Offset end_;
  uint64_t footprint_bytes_ = 0;
  uint64_t unstored_footprint_bytes_ = 0;
  uint64_t storing_footprint_bytes_ = 0;
};

}  // namespace spillway::queue
