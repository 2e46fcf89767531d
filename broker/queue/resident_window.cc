#include "broker/queue/resident_window.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace spillway::queue {

uint64_t ResidentWindow::Footprint(const Batch& batch) {
  return sizeof(Batch) + batch.records.footprint_bytes();
}

void ResidentWindow::Append(Batch batch) {
  assert(batch.first == end_);
  const uint64_t cost = Footprint(batch);
  end_ = batch.end();
  footprint_bytes_ += cost;
  unstored_footprint_bytes_ += cost;
  batches_.push_back(std::move(batch));
}

const Batch* ResidentWindow::Find(Offset offset) const {
  if (offset < begin_ || offset >= end_) return nullptr;
  // Live consumers ask for the last batch; look there first.
  if (offset >= batches_.back().first) return &batches_.back();
  auto it = std::upper_bound(batches_.begin(), batches_.end(), offset,
                             [](Offset o, const Batch& b) { return o < b.first; });
  return &*std::prev(it);
}

const Batch* ResidentWindow::FindTime(UnixMillis time) const {
  auto it = std::lower_bound(batches_.begin(), batches_.end(), time,
                             [](const Batch& b, UnixMillis t) { return b.appended_at < t; });
  return it == batches_.end() ? nullptr : &*it;
}

const Batch* ResidentWindow::NextToStore() const {
  return storing_index_ < batches_.size() ? &batches_[storing_index_] : nullptr;
}

void ResidentWindow::MarkStoring() {
  const Batch& batch = batches_[storing_index_++];
  storing_end_ = batch.end();
  storing_footprint_bytes_ += Footprint(batch);
}

const Batch& ResidentWindow::MarkStored(LogPosition position) {
  assert(stored_index_ < storing_index_);
  Batch& batch = batches_[stored_index_++];
  batch.position = position;
  stored_end_ = batch.end();
  const uint64_t cost = Footprint(batch);
  storing_footprint_bytes_ -= cost;
  unstored_footprint_bytes_ -= cost;
  return batch;
}

bool ResidentWindow::CanEvict(Offset head) const {
  if (batches_.empty()) return false;
  if (stored_index_ > 0) return true;
  return storing_index_ == 0 && batches_.front().end() <= head;
}

void ResidentWindow::EvictFront() {
  const Batch& batch = batches_.front();
  const uint64_t cost = Footprint(batch);
  footprint_bytes_ -= cost;
  begin_ = batch.end();
  if (stored_index_ > 0) {
    --stored_index_;
    --storing_index_;
  } else {
    // Never stored, and not needed any more.
    unstored_footprint_bytes_ -= cost;
    stored_end_ = storing_end_ = begin_;
  }
  batches_.pop_front();
}

}  // namespace spillway::queue
