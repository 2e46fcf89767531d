// What a group or a reader has read back from the disk and not yet used.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "broker/base/types.h"
#include "broker/queue/batch.h"

namespace spillway::queue {

// One per cursor that lags, so that a laggard costs only itself. What was read is used
// in order; while little of it is left, the next read is ahead of its use, so at most
// kAheadBytes and one read are held.
// Thread-safety: none.
class Fetch {
 public:
  static constexpr uint64_t kAheadBytes = 1 << 20;

  // The batch that holds `offset`, or null. Drops batches before it.
  const Batch* Find(Offset offset);
  // The read that begins next is for this offset, and replaces what is held.
  // REQUIRES: !reading().
  void Want(Offset offset) {
    wanted_ = offset;
    ahead_ = false;
  }
  // The read that begins next goes on at end(), and adds to what is held.
  // REQUIRES: MayReadAhead().
  void WantAhead() {
    wanted_ = end_;
    ahead_ = true;
  }
  // Whether what is held is worth a read ahead: there is little of it, and none that
  // began at its end has found nothing.
  bool MayReadAhead() const {
    return !reading_ && !batches_.empty() && bytes_ <= kAheadBytes && in_vain_ != end_;
  }
  // Where what was read ends.
  Offset end() const { return end_; }
  // Whether a read is under way.
  bool reading() const { return reading_; }
  void Begin() {
    reading_ = true;
    if (!ahead_) Drop();
  }
  // The batches of a finished read, in order, from the store's position on.
  // `next` is where a read that goes on would start.
  void Finish(std::deque<Batch> batches, LogPosition next);
  void Fail();
  // A read for `offset` ended without an entry at all, or passed it by: the store
  // does not have it, and reading again would not end.
  bool missed(Offset offset) const { return missed_ == offset; }
  // Where to go on reading for `offset`: where the last read ended, if that is
  // not past it and no mark is as near (between the two, entries may be trimmed).
  std::optional<LogPosition> ContinueAt(Offset offset, Offset nearest_mark) const {
    if (end_ != 0 && nearest_mark < end_ && end_ <= offset) return next_;
    return std::nullopt;
  }
  // A read under way is forgotten; it must not end in Finish or Fail.
  void Clear() {
    Drop();
    reading_ = false;
    end_ = 0;
    missed_.reset();
    in_vain_.reset();
  }
  size_t batches() const { return batches_.size(); }

 private:
  void Drop() {
    batches_.clear();
    bytes_ = 0;
  }

  std::deque<Batch> batches_;
  uint64_t bytes_ = 0;  // of their records
  LogPosition next_ = 0;
  Offset end_ = 0;
  Offset wanted_ = 0;
  std::optional<Offset> missed_;
  std::optional<Offset> in_vain_;  // where the last read ahead began that found nothing
  bool reading_ = false;
  bool ahead_ = false;
};

}  // namespace spillway::queue
