#include "broker/queue/model/sim_log.h"

#include <algorithm>
#include <utility>

namespace spillway::queue::model {

void SimLog::CompleteOne() {
  Entry entry = std::move(pending_.front());
  pending_.pop_front();
  // Positions rise, and are not dense.
  entry.position = last_ += 1 + random_->Below(9);
  auto done = std::move(entry.done);
  durable_.push_back(std::move(entry));
  if (done) done(last_);
}

void SimLog::Crash(const std::function<void(const Batch&)>& durable) {
  for (uint64_t n = random_->Below(pending_.size() + 1); n > 0; --n) {
    pending_.front().done = nullptr;
    if (pending_.front().data) durable(*pending_.front().data);
    CompleteOne();
  }
  pending_.clear();
}

void SimLog::Trim(LogPosition upto) {
  trimmed_ = std::max(trimmed_, upto);
  LogPosition snapshot = 0;
  for (const Entry& entry : durable_) {
    if (entry.saved && entry.saved->lane) snapshot = entry.position;
  }
  std::erase_if(durable_, [&](const Entry& entry) {
    return entry.position < trimmed_ && (entry.data || entry.position < snapshot);
  });
}

std::deque<Batch> SimLog::Read(LogPosition from, uint64_t max_bytes, LogPosition* next) const {
  std::deque<Batch> out;
  uint64_t bytes = 0;
  *next = from;
  for (const Entry& entry : durable_) {
    if (entry.position < from || !entry.data) continue;
    if (!out.empty() && bytes + entry.data->records.fields().size() > max_bytes) break;
    bytes += entry.data->records.fields().size();
    out.push_back(*entry.data);
    *next = entry.position + 1;
  }
  return out;
}

std::vector<const SimLog::Entry*> SimLog::Replay() const {
  std::vector<const Entry*> out;
  for (const Entry& entry : durable_) {
    if (entry.saved && entry.saved->lane) out.clear();
    out.push_back(&entry);
  }
  return out;
}

bool SimLog::Has(Offset offset) const {
  return std::any_of(durable_.begin(), durable_.end(), [&](const Entry& entry) {
    return entry.position >= trimmed_ && entry.data && entry.data->first <= offset &&
           offset < entry.data->end();
  });
}

}  // namespace spillway::queue::model
