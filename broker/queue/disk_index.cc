#include "broker/queue/disk_index.h"

#include <algorithm>
#include <limits>

namespace spillway::queue {

void DiskIndex::Add(const Mark& mark) {
  if (!force_ && !marks_.empty() &&
      mark.bytes_before - marks_.back().bytes_before < kSpacingBytes) {
    return;
  }
  force_ = false;
  marks_.push_back(mark);
}

namespace {

template <typename T, typename Key>
std::optional<DiskIndex::Mark> FloorBy(const std::deque<DiskIndex::Mark>& marks, T value, Key key) {
  if (marks.empty()) return std::nullopt;
  auto it = std::upper_bound(marks.begin(), marks.end(), value,
                             [&](T v, const DiskIndex::Mark& m) { return v < key(m); });
  return it == marks.begin() ? *it : *std::prev(it);
}

}  // namespace

std::optional<DiskIndex::Mark> DiskIndex::Floor(Offset offset) const {
  return FloorBy(marks_, offset, [](const Mark& m) { return m.first; });
}

Offset DiskIndex::NextAfter(Offset offset) const {
  auto it = std::upper_bound(marks_.begin(), marks_.end(), offset,
                             [](Offset o, const Mark& m) { return o < m.first; });
  return it == marks_.end() ? std::numeric_limits<Offset>::max() : it->first;
}

std::optional<DiskIndex::Mark> DiskIndex::FloorTime(UnixMillis time) const {
  // Strictly before `time`: batches of the same millisecond may precede a mark.
  return FloorBy(marks_, time == 0 ? 0 : time - 1, [](const Mark& m) { return m.appended_at; });
}

void DiskIndex::StartAt(const Mark& mark) {
  while (!marks_.empty() && marks_.front().first <= mark.first) marks_.pop_front();
  marks_.push_front(mark);
}

void DiskIndex::TrimBelow(Offset head) {
  while (marks_.size() > 1 && marks_[1].first <= head) marks_.pop_front();
}

}  // namespace spillway::queue
