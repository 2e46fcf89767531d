#include "broker/wire/batch.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace spillway::wire {

Records::Records(Buffer buffer, uint32_t begin, std::shared_ptr<const uint32_t[]> ends,
                 uint32_t count)
    : buffer_(std::move(buffer)), begin_(begin), count_(count), ends_(std::move(ends)) {
  assert(count_ == 0 || begin_ + ends_[count_ - 1] <= buffer_.size());
}

std::string_view Records::Fields(uint32_t first, uint32_t n) const {
  assert(first + n <= count_);
  if (n == 0) return {};
  const uint32_t from = first == 0 ? 0 : ends_[first - 1];
  return {buffer_.data() + begin_ + from, ends_[first + n - 1] - from};
}

Slice Records::FieldsSlice(uint32_t first, uint32_t n) const {
  assert(first + n <= count_);
  if (n == 0) return {};
  const uint32_t from = first == 0 ? 0 : ends_[first - 1];
  return {.buffer = buffer_, .begin = begin_ + from, .length = ends_[first + n - 1] - from};
}

uint32_t Records::BodyBytes(uint32_t index) const {
  assert(index < count_);
  const uint32_t* totals = ends_.get() + count_;
  return totals[index] - (index == 0 ? 0 : totals[index - 1]);
}

std::string_view Records::Body(uint32_t index) const {
  const uint32_t length = BodyBytes(index);
  return {buffer_.data() + begin_ + ends_[index] - length, length};
}

Credit Records::Cost(uint32_t first, uint32_t n) const {
  assert(first + n <= count_);
  if (n == 0) return {};
  const uint32_t* totals = ends_.get() + count_;
  return {.messages = n, .bytes = totals[first + n - 1] - (first == 0 ? 0 : totals[first - 1])};
}

uint32_t Records::FitWithin(uint32_t first, uint32_t max, const Credit& room) const {
  assert(first <= count_);
  uint64_t n = std::min<uint64_t>({max, count_ - first, room.messages});
  if (n == 0) return 0;
  const uint32_t* totals = ends_.get() + count_;
  const uint64_t limit = room.bytes + (first == 0 ? 0 : totals[first - 1]);
  // Saturated: room for everything.
  if (limit < room.bytes || totals[first + n - 1] <= limit) return static_cast<uint32_t>(n);
  const uint32_t* fit = std::upper_bound(totals + first, totals + first + n, limit);
  return static_cast<uint32_t>(fit - (totals + first));
}

size_t Records::footprint_bytes() const {
  // The blocks' own headers and what the allocator rounds up.
  constexpr size_t kOverheadBytes = 96;
  return buffer_.size() + size_t{count_} * 2 * sizeof(uint32_t) + kOverheadBytes;
}

}  // namespace spillway::wire
