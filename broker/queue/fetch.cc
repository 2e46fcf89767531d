#include "broker/queue/fetch.h"

#include <utility>

namespace spillway::queue {

void Fetch::Finish(std::deque<Batch> batches, LogPosition next) {
  reading_ = false;
  if (ahead_) {
    // It may have begun at a mark before the end.
    while (!batches.empty() && batches.front().end() <= end_) batches.pop_front();
    if (batches.empty()) {
      in_vain_ = end_;
      return;
    }
  }
  for (Batch& batch : batches) {
    bytes_ += batch.records.Cost().bytes;
    batches_.push_back(std::move(batch));
  }
  next_ = next;
  end_ = batches_.empty() ? 0 : batches_.back().end();
  if (ahead_) return;
  missed_.reset();
  if (batches_.empty() || (Find(wanted_) == nullptr && !batches_.empty())) missed_ = wanted_;
}

void Fetch::Fail() {
  reading_ = false;
  if (ahead_) in_vain_ = end_;
}

const Batch* Fetch::Find(Offset offset) {
  while (!batches_.empty() && batches_.front().end() <= offset) {
    bytes_ -= batches_.front().records.Cost().bytes;
    batches_.pop_front();
  }
  if (batches_.empty() || batches_.front().first > offset) return nullptr;
  return &batches_.front();
}

}  // namespace spillway::queue
