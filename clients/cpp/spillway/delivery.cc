#include "clients/cpp/spillway/delivery.h"

#include <algorithm>
#include <utility>

#include "clients/cpp/spillway/internal/consumer_session.h"

namespace spillway::client {

DeliveryBatch::DeliveryBatch() = default;
DeliveryBatch::~DeliveryBatch() { Finish(); }
DeliveryBatch::DeliveryBatch(DeliveryBatch&& o) noexcept = default;

DeliveryBatch& DeliveryBatch::operator=(DeliveryBatch&& o) noexcept {
  if (this == &o) return *this;
  Finish();
  session_ = std::move(o.session_);
  index_ = std::move(o.index_);
  frame_ = std::move(o.frame_);
  id_ = o.id_;
  epoch_ = o.epoch_;
  released_ = o.released_;
  run_ = o.run_;
  return *this;
}

void DeliveryBatch::Finish() {
  if (session_ != nullptr) session_->Finished(id_, epoch_, *index_, released_);
  session_ = nullptr;
}

uint32_t DeliveryBatch::size() const {
  return index_ == nullptr ? 0 : static_cast<uint32_t>(index_->records.size());
}

Credit DeliveryBatch::cost() const { return index_ == nullptr ? Credit{} : index_->cost; }

RecordView DeliveryBatch::operator[](uint32_t index) const {
  const std::vector<internal::FrameIndex::Run>& runs = index_->runs;
  if (index < runs[run_].base) run_ = 0;
  while (index >= runs[run_].base + runs[run_].count) ++run_;
  const internal::FrameIndex::Run& run = runs[run_];
  const internal::FrameIndex::Span& span = index_->records[index];
  return {run.first_offset + (index - run.base), run.appended_at_unix_ms, run.attempt,
          internal::View(frame_).substr(span.begin, span.size)};
}

uint64_t DeliveryBatch::first_offset() const {
  return index_ == nullptr || index_->runs.empty() ? 0 : index_->runs.front().first_offset;
}

std::vector<OffsetRange> DeliveryBatch::ranges() const {
  std::vector<OffsetRange> ranges;
  if (index_ == nullptr) return ranges;
  for (const internal::FrameIndex::Run& run : index_->runs) {
    AppendRange({run.first_offset, run.count}, &ranges);
  }
  return ranges;
}

void DeliveryBatch::Settle(SettleAction action, const SettleOptions& options) {
  if (session_ != nullptr) session_->Settle(ranges(), id_, action, options);
}

void DeliveryBatch::Settle(SettleAction action, uint32_t first, uint32_t count,
                           const SettleOptions& options) {
  if (session_ == nullptr) return;
  std::vector<OffsetRange> part;
  for (const internal::FrameIndex::Run& run : index_->runs) {
    const uint32_t from = std::max(first, run.base);
    const uint32_t to = std::min(first + count, run.base + run.count);
    if (from < to) AppendRange({run.first_offset + (from - run.base), to - from}, &part);
  }
  session_->Settle(part, id_, action, options);
}

void DeliveryBatch::Extend() {
  if (session_ != nullptr) session_->Extend(ranges(), id_);
}

}  // namespace spillway::client
