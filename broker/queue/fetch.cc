#include "broker/queue/fetch.h"

#include <utility>

namespace spillway::queue {

void Fetch::Finish(std::deque<Batch> batches, LogPosition next) {
  reading_ = false;
  batches_ = std::move(batches);
  next_ = next;
  end_ = batches_.empty() ? 0 : batches_.back().end();
  missed_.reset();
  if (batches_.empty() || (Find(wanted_) == nullptr && !batches_.empty())) missed_ = wanted_;
}

const Batch* Fetch::Find(Offset offset) {
  while (!batches_.empty() && batches_.front().end() <= offset) batches_.pop_front();
  if (batches_.empty() || batches_.front().first > offset) return nullptr;
  return &batches_.front();
}

}  // namespace spillway::queue
