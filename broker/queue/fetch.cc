#include "broker/queue/fetch.h"

namespace spillway::queue {

const Batch* Fetch::Find(Offset offset) {
  while (!batches_.empty() && batches_.front().end() <= offset) batches_.pop_front();
  if (batches_.empty() || batches_.front().first > offset) return nullptr;
  return &batches_.front();
}

}  // namespace spillway::queue
