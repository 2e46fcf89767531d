#include "broker/queue/range_set.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace spillway::queue {

OffsetRange RangeSet::first_range() const {
  auto it = ranges_.begin();
  return {it->first, it->second - it->first};
}

bool RangeSet::Contains(Offset offset) const { return NextInside(offset) == offset; }

uint64_t RangeSet::Add(OffsetRange range) {
  if (range.count == 0) return 0;
  Offset first = range.first;
  Offset end = range.end();
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin()) {
    auto before = std::prev(it);
    if (before->second >= first) {
      if (before->second >= end) return 0;
      it = before;
    }
  }
  uint64_t had = 0;
  while (it != ranges_.end() && it->first <= end) {
    had += it->second - it->first;
    first = std::min(first, it->first);
    end = std::max(end, it->second);
    it = ranges_.erase(it);
  }
  ranges_.emplace_hint(it, first, end);
  const uint64_t added = (end - first) - had;
  count_ += added;
  return added;
}

uint64_t RangeSet::Remove(OffsetRange range) {
  if (range.count == 0) return 0;
  const Offset first = range.first;
  const Offset end = range.end();
  uint64_t removed = 0;
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin() && std::prev(it)->second > first) --it;
  while (it != ranges_.end() && it->first < end) {
    const Offset had_first = it->first;
    const Offset had_end = it->second;
    it = ranges_.erase(it);
    removed += std::min(had_end, end) - std::max(had_first, first);
    // An insertion invalidates every other iterator.
    if (had_first < first) it = std::next(ranges_.emplace(had_first, first).first);
    if (had_end > end) it = ranges_.emplace(end, had_end).first;
  }
  count_ -= removed;
  return removed;
}

void RangeSet::RemoveBelow(Offset offset) { Remove({0, offset}); }

void RangeSet::Clear() {
  ranges_.clear();
  count_ = 0;
}

Offset RangeSet::NextOutside(Offset offset) const {
  auto it = ranges_.upper_bound(offset);
  if (it == ranges_.begin()) return offset;
  return std::max(offset, std::prev(it)->second);
}

Offset RangeSet::NextInside(Offset offset) const {
  auto it = ranges_.upper_bound(offset);
  if (it != ranges_.begin() && std::prev(it)->second > offset) return offset;
  return it == ranges_.end() ? std::numeric_limits<Offset>::max() : it->first;
}

std::vector<OffsetRange> RangeSet::Intersect(OffsetRange range) const {
  std::vector<OffsetRange> out;
  const Offset end = range.end();
  for (Offset at = NextInside(range.first); at < end; at = NextInside(at)) {
    const Offset stop = std::min(NextOutside(at), end);
    out.push_back({at, stop - at});
    at = stop;
  }
  return out;
}

std::vector<OffsetRange> RangeSet::Missing(OffsetRange range) const {
  std::vector<OffsetRange> out;
  const Offset end = range.end();
  for (Offset at = NextOutside(range.first); at < end; at = NextOutside(at)) {
    const Offset stop = std::min(NextInside(at), end);
    out.push_back({at, stop - at});
    at = stop;
  }
  return out;
}

std::vector<OffsetRange> RangeSet::ToVector() const {
  std::vector<OffsetRange> out;
  out.reserve(ranges_.size());
  for (const auto& [first, end] : ranges_) out.push_back({first, end - first});
  return out;
}

}  // namespace spillway::queue
