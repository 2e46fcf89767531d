#include "clients/cpp/spillway/internal/in_flight.h"

#include <algorithm>
#include <utility>

namespace spillway::client::internal {

void InFlight::Add(uint64_t delivery, uint64_t epoch, const FrameIndex::Run& run,
                   const std::shared_ptr<const FrameIndex>& index) {
  // Delivered again without a word that it was taken away: the new one counts.
  Taken replaced;
  Take({run.first_offset, run.count}, std::nullopt, epoch, &replaced);
  runs_[run.first_offset] = Run{run.count, run.base, delivery, epoch, index};
}

void InFlight::Take(const OffsetRange& range, std::optional<uint64_t> delivery, uint64_t epoch,
                    Taken* taken) {
  auto it = runs_.upper_bound(range.first_offset);
  if (it != runs_.begin()) --it;
  while (it != runs_.end() && it->first < range.end()) {
    const uint64_t first = it->first;
    const uint64_t end = first + it->second.count;
    const uint64_t from = std::max(first, range.first_offset);
    const uint64_t to = std::min(end, range.end());
    if (from >= to || (delivery && it->second.delivery != *delivery)) {
      ++it;
      continue;
    }
    const Run run = std::move(it->second);
    it = runs_.erase(it);
    const Credit cost = run.index->Cost(run.base + static_cast<uint32_t>(from - first),
                                        static_cast<uint32_t>(to - from));
    (run.epoch == epoch ? taken->current : taken->held) += cost;
    AppendRange({from, to - from}, &taken->ranges);
    if (first < from) {
      Run head = run;
      head.count = static_cast<uint32_t>(from - first);
      runs_.emplace(first, std::move(head));
    }
    if (to < end) {
      Run tail = run;
      tail.base += static_cast<uint32_t>(to - first);
      tail.count = static_cast<uint32_t>(end - to);
      runs_.emplace(to, std::move(tail));
      break;
    }
  }
}

void InFlight::Find(const OffsetRange& range, std::optional<uint64_t> delivery,
                    std::vector<OffsetRange>* ranges) const {
  auto it = runs_.upper_bound(range.first_offset);
  if (it != runs_.begin()) --it;
  for (; it != runs_.end() && it->first < range.end(); ++it) {
    const uint64_t from = std::max(it->first, range.first_offset);
    const uint64_t to = std::min(it->first + it->second.count, range.end());
    if (from < to && (!delivery || it->second.delivery == *delivery)) {
      AppendRange({from, to - from}, ranges);
    }
  }
}

std::vector<OffsetRange> InFlight::Ranges() const {
  std::vector<OffsetRange> ranges;
  for (const auto& [first, run] : runs_) AppendRange({first, run.count}, &ranges);
  return ranges;
}

Credit InFlight::Cost() const {
  Credit cost;
  for (const auto& [first, run] : runs_) cost += run.index->Cost(run.base, run.count);
  return cost;
}

}  // namespace spillway::client::internal
