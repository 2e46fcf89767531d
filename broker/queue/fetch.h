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
  // Whether a read is under way.
  bool reading() const { return reading_; }
  void Begin() {
    reading_ = true;
    batches_.clear();
  }
  // The batches of a finished read, in order, from the store's position on.
  // `next` is where a read that goes on would start.
  void Finish(std::deque<Batch> batches, LogPosition next) {
    reading_ = false;
    batches_ = std::move(batches);
    next_ = next;
    end_ = batches_.empty() ? 0 : batches_.back().end();
    found_nothing_ = batches_.empty();
  }
  void Fail() { reading_ = false; }
  // The last read found no entry at all, though there should be one.
  bool found_nothing() const { return found_nothing_; }
  // Where to go on reading for `offset`: where the last read ended, if that is
  // not past it and no mark is nearer.
  std::optional<LogPosition> ContinueAt(Offset offset, Offset nearest_mark) const {
    if (end_ != 0 && nearest_mark <= end_ && end_ <= offset) return next_;
    return std::nullopt;
  }
  void Clear() {
    batches_.clear();
    end_ = 0;
    found_nothing_ = false;
  }
  size_t batches() const { return batches_.size(); }

 private:
  std::deque<Batch> batches_;
  LogPosition next_ = 0;
  Offset end_ = 0;
  bool reading_ = false;
  bool found_nothing_ = false;
};

}  // namespace spillway::queue
