// What a group or a reader has read back from the disk and not yet used.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "broker/base/types.h"
#include "broker/queue/batch.h"

namespace spillway::queue {

// One per cursor that lags, so that a laggard costs only itself. Holds at most
// one read's worth of batches; the next read starts when they are used up.
// Thread-safety: none.
class Fetch {
 public:
  // The batch that holds `offset`, or null. Drops batches before it.
  const Batch* Find(Offset offset);
  // The read that begins next is for this offset.
  // REQUIRES: !reading().
  void Want(Offset offset) { wanted_ = offset; }
  // Whether a read is under way.
  bool reading() const { return reading_; }
  void Begin() {
    reading_ = true;
    batches_.clear();
  }
  // The batches of a finished read, in order, from the store's position on.
  // `next` is where a read that goes on would start.
  void Finish(std::deque<Batch> batches, LogPosition next);
  void Fail() { reading_ = false; }
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
    reading_ = false;
    batches_.clear();
    end_ = 0;
    missed_.reset();
  }
  size_t batches() const { return batches_.size(); }

 private:
  std::deque<Batch> batches_;
  LogPosition next_ = 0;
  Offset end_ = 0;
  Offset wanted_ = 0;
  std::optional<Offset> missed_;
  bool reading_ = false;
};

}  // namespace spillway::queue
