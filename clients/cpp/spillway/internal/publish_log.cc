#include "clients/cpp/spillway/internal/publish_log.h"

#include <algorithm>
#include <cassert>
#include <iterator>

#include "broker/base/registry.gen.h"

namespace spillway::client::internal {
namespace {

// What a PublishRequest adds to its records: two tags, a length, a sequence.
constexpr uint64_t kFrameOverheadBytes = 1 + 5 + 1 + 10;

// The body of a `records` field that takes `extent` bytes with tag and length.
uint32_t BodyOfExtent(uint32_t extent) {
  for (uint32_t prefix = 1; prefix <= 5; ++prefix) {
    const uint32_t body = extent - 1 - prefix;
    if (VarintSize(body) == prefix) return body;
  }
  return 0;
}

uint32_t EndOf(const std::vector<uint32_t>& ends, uint32_t index) {
  return index == 0 ? 0 : ends[index - 1];
}

void FreeString(void* string) { delete static_cast<std::string*>(string); }

}  // namespace

uint32_t Batch::BodyBytes(uint32_t index) const {
  const std::vector<uint32_t>& all_ends = open ? *building_ends : *ends;
  return BodyOfExtent(all_ends[base + index] - EndOf(all_ends, base + index));
}

uint32_t Batch::FitWithin(const Credit& room, uint64_t max_frame_bytes,
                          uint32_t max_records) const {
  if (cost.Within(room) && frame_bytes() <= max_frame_bytes && count <= max_records) return count;
  const std::vector<uint32_t>& all_ends = open ? *building_ends : *ends;
  Credit sum;
  uint32_t n = 0;
  for (; n < std::min(count, max_records); ++n) {
    const Credit next = sum + Credit{1, BodyBytes(n)};
    if (!next.Within(room)) break;
    // One record may exceed the frame's bound by itself.
    if (n > 0 && all_ends[base + n] - origin > max_frame_bytes) break;
    sum = next;
  }
  return n;
}

void Answer::Call() const {
  if (one) one(result);
  if (all != nullptr && *all) (*all)(first, count, result);
}

PublishLog::PublishLog() {
  SetFrameLimits(registry::limit::kMaxBatchBytes, registry::limit::kMaxBatchRecords);
}

void PublishLog::SetFrameLimits(uint64_t max_batch_bytes, uint32_t max_batch_records) {
  max_frame_bytes_ =
      max_batch_bytes > kFrameOverheadBytes ? max_batch_bytes - kFrameOverheadBytes : 1;
  max_records_ = std::max(1U, max_batch_records);
}

bool PublishLog::Fits(const Credit& cost) const {
  return (sent_ + reserved_ + cost).Within(allowed());
}

Credit PublishLog::available() const { return SaturatingMinus(allowed(), sent_ + reserved_); }

void PublishLog::Append(const Message& message, PublishCallback done) {
  const Credit cost{1, EncodedBytes(message)};
  const uint64_t field_bytes = 1 + VarintSize(cost.bytes) + cost.bytes;
  if (ready_.empty() || !ready_.back().open || ready_.back().count >= max_records_ ||
      ready_.back().frame_bytes() + field_bytes > max_frame_bytes_) {
    if (!ready_.empty() && ready_.back().open) Seal(&ready_.back());
    ready_.emplace_back().open = true;
    ready_.back().building_ends = std::make_shared<std::vector<uint32_t>>();
  }
  Batch& batch = ready_.back();
  AppendRecordField(message, &batch.building);
  batch.building_ends->push_back(static_cast<uint32_t>(batch.building.size()));
  batch.each.push_back(std::move(done));
  batch.cost += cost;
  ++batch.count;
  ++batch.unanswered;
  reserved_ += cost;
  ++unanswered_;
}

Credit PublishLog::Cost(const EncodedBatch& batch, uint32_t first, uint32_t count) {
  if (count == batch.size()) return batch.cost();
  const std::vector<uint32_t>& ends = *EncodedBatchAccess::Ends(batch);
  Credit cost{.messages = count};
  for (uint32_t i = first; i < first + count; ++i) {
    cost.bytes += BodyOfExtent(ends[i] - EndOf(ends, i));
  }
  return cost;
}

uint32_t PublishLog::FitCount(const EncodedBatch& batch, uint32_t first) const {
  const Credit room = available();
  const uint32_t rest = batch.size() - first;
  if (first == 0 && batch.cost().Within(room)) return rest;
  const std::vector<uint32_t>& ends = *EncodedBatchAccess::Ends(batch);
  Credit sum;
  for (uint32_t n = 0; n < rest; ++n) {
    sum += {1, BodyOfExtent(ends[first + n] - EndOf(ends, first + n))};
    if (!sum.Within(room)) return n;
  }
  return rest;
}

void PublishLog::Append(const EncodedBatch& encoded, uint32_t first, uint32_t count,
                        std::shared_ptr<BatchCallback> done) {
  if (!ready_.empty() && ready_.back().open) Seal(&ready_.back());
  const std::shared_ptr<const std::vector<uint32_t>>& ends = EncodedBatchAccess::Ends(encoded);
  const grpc::Slice& all_fields = EncodedBatchAccess::Fields(encoded);
  const uint32_t end = first + count;
  while (first < end) {
    const uint32_t origin = EndOf(*ends, first);
    uint32_t n = 1;  // one record may exceed the frame's bound by itself
    while (first + n < end && n < max_records_ && (*ends)[first + n] - origin <= max_frame_bytes_) {
      ++n;
    }
    Batch& batch = ready_.emplace_back();
    batch.count = n;
    batch.unanswered = n;
    batch.cost = Cost(encoded, first, n);
    batch.fields = n == encoded.size()
                       ? all_fields
                       : const_cast<grpc::Slice&>(all_fields).sub(origin, (*ends)[first + n - 1]);
    batch.ends = ends;
    batch.base = first;
    batch.origin = origin;
    batch.all = done;
    reserved_ += batch.cost;
    unanswered_ += n;
    first += n;
  }
}

void PublishLog::Seal(Batch* batch) {
  auto* owned = new std::string(std::move(batch->building));
  batch->fields = grpc::Slice(owned->data(), owned->size(), FreeString, owned);
  batch->building.clear();
  batch->ends = std::move(batch->building_ends);
  batch->building_ends = nullptr;
  batch->open = false;
}

void PublishLog::SplitFront(uint32_t count) {
  Batch& whole = ready_.front();
  if (whole.open) Seal(&whole);
  assert(count > 0 && count < whole.count);
  Batch head;
  const uint32_t cut = EndOf(*whole.ends, whole.base + count) - whole.origin;
  head.first_sequence = whole.first_sequence;
  head.count = count;
  for (uint32_t i = 0; i < count; ++i) head.cost += {1, whole.BodyBytes(i)};
  head.fields = whole.fields.sub(0, cut);
  head.ends = whole.ends;
  head.base = whole.base;
  head.origin = whole.origin;
  head.all = whole.all;
  if (!whole.each.empty()) {
    const auto mid = whole.each.begin() + count;
    head.each.assign(std::make_move_iterator(whole.each.begin()), std::make_move_iterator(mid));
    whole.each.erase(whole.each.begin(), mid);
  }
  head.unanswered = count;
  if (!whole.answered.empty()) {
    head.answered.assign(whole.answered.begin(), whole.answered.begin() + count);
    whole.answered.erase(whole.answered.begin(), whole.answered.begin() + count);
    head.unanswered =
        static_cast<uint32_t>(std::count(head.answered.begin(), head.answered.end(), false));
  }
  if (whole.first_sequence != 0) whole.first_sequence += count;
  whole.count -= count;
  whole.unanswered -= head.unanswered;
  whole.cost -= head.cost;
  whole.fields = whole.fields.sub(cut, whole.fields.size());
  whole.base += count;
  whole.origin += cut;
  ready_.push_front(std::move(head));
}

std::optional<grpc::ByteBuffer> PublishLog::Next() {
  if (ready_.empty()) return std::nullopt;
  const Credit room = SaturatingMinus(allowed(), sent_);
  if (!ready_.front().cost.Within(room)) {
    // Only an epoch with less credit than the last can get here. A batch keeps its
    // boundaries, unless nothing else would ever bring credit.
    if (!unconfirmed_.empty()) return std::nullopt;
    const uint32_t n = ready_.front().FitWithin(room, max_frame_bytes_, max_records_);
    if (n == 0) return std::nullopt;
    SplitFront(n);
  }
  Batch& batch = ready_.front();
  if (batch.open) Seal(&batch);
  if (batch.first_sequence == 0) {
    batch.first_sequence = next_sequence_;
    next_sequence_ += batch.count;
  }
  sent_ += batch.cost;
  reserved_ -= batch.cost;
  grpc::ByteBuffer frame = PublishFrame(batch.first_sequence, batch.fields);
  unconfirmed_.push_back(std::move(batch));
  ready_.pop_front();
  return frame;
}

uint64_t PublishLog::resume_sequence() const {
  if (epoch_ == 0) return 0;
  const bool numbered = !ready_.empty() && ready_.front().first_sequence != 0;
  return numbered ? ready_.front().first_sequence : next_sequence_;
}

Status PublishLog::Opened(uint64_t epoch, uint64_t next_sequence) {
  epoch_ = epoch;
  limit_ = {};
  returned_ = {};
  sent_ = {};
  stated_total_ = {};
  stated_next_bytes_ = 0;
  const auto numbered_end = std::find_if(ready_.begin(), ready_.end(),
                                         [](const Batch& b) { return b.first_sequence == 0; });
  if (numbered_end == ready_.begin()) {
    next_sequence_ = next_sequence;
    return Ok();
  }
  if (next_sequence > next_sequence_) {
    return Error{.kind = ErrorKind::kFenced,
                 .message =
                     "the producer id was used by another producer meanwhile; give each "
                     "producer an id of its own",
                 .limit = next_sequence_,
                 .actual = next_sequence};
  }
  if (next_sequence < ready_.front().first_sequence) {
    // The broker has forgotten this producer (a MEMORY queue after a restart), so
    // none of these were kept: number them as it expects.
    for (auto it = ready_.begin(); it != numbered_end; ++it) {
      it->first_sequence = next_sequence;
      next_sequence += it->count;
    }
    next_sequence_ = next_sequence;
    return Ok();
  }
  // A batch must not straddle what was accepted. It cannot, unless the broker cut
  // one; then cut it likewise.
  for (size_t i = 0; i < ready_.size() && ready_[i].first_sequence != 0; ++i) {
    const uint64_t first = ready_[i].first_sequence;
    if (next_sequence <= first || next_sequence >= first + ready_[i].count) continue;
    std::deque<Batch> before;
    std::move(ready_.begin(), ready_.begin() + static_cast<ptrdiff_t>(i),
              std::back_inserter(before));
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<ptrdiff_t>(i));
    SplitFront(static_cast<uint32_t>(next_sequence - first));
    std::move(before.rbegin(), before.rend(), std::front_inserter(ready_));
    break;
  }
  return Ok();
}

void PublishLog::Broken() {
  for (const Batch& batch : unconfirmed_) reserved_ += batch.cost;
  std::move(unconfirmed_.rbegin(), unconfirmed_.rend(), std::front_inserter(ready_));
  unconfirmed_.clear();
  limit_ = {};
  returned_ = {};
  sent_ = {};
}

bool PublishLog::Grant(const Credit& limit) {
  if (!limit_.Within(limit)) return false;
  limit_ = limit;
  return true;
}

void PublishLog::Confirm(uint64_t first_sequence, uint64_t count, const Published& first_record,
                         std::vector<Answer>* answers) {
  Resolve(first_sequence, count, first_record, answers);
}

void PublishLog::Refuse(uint64_t first_sequence, uint64_t count, const Error& error,
                        std::vector<Answer>* answers) {
  Resolve(first_sequence, count, error, answers);
}

void PublishLog::Resolve(uint64_t first_sequence, uint64_t count,
                         const Result<Published>& first_record, std::vector<Answer>* answers) {
  const uint64_t end = first_sequence + count;
  auto it = std::partition_point(unconfirmed_.begin(), unconfirmed_.end(), [&](const Batch& b) {
    return b.first_sequence + b.count <= first_sequence;
  });
  for (; it != unconfirmed_.end() && it->first_sequence < end; ++it) {
    const uint64_t from = std::max(first_sequence, it->first_sequence);
    const uint64_t to = std::min(end, it->first_sequence + it->count);
    Result<Published> result = first_record;
    if (result.ok() && !result->offset_unknown) result->offset += from - first_sequence;
    const uint32_t before = it->unanswered;
    Answered(&*it, static_cast<uint32_t>(from - it->first_sequence),
             static_cast<uint32_t>(to - from), result, answers);
    unanswered_ -= before - it->unanswered;
  }
  while (!unconfirmed_.empty() && unconfirmed_.front().unanswered == 0) unconfirmed_.pop_front();
}

void PublishLog::Answered(Batch* batch, uint32_t first, uint32_t count,
                          const Result<Published>& first_record, std::vector<Answer>* answers) {
  if (batch->unanswered == 0) return;
  const bool whole = count == batch->count && batch->answered.empty();
  if (!whole && batch->answered.empty()) batch->answered.resize(batch->count, false);
  // Runs of records that had no answer yet.
  for (uint32_t i = first; i < first + count;) {
    if (!whole && batch->answered[i]) {
      ++i;
      continue;
    }
    uint32_t n = whole ? count : 0;
    while (!whole && i + n < first + count && !batch->answered[i + n]) {
      batch->answered[i + n] = true;
      ++n;
    }
    batch->unanswered -= n;
    Result<Published> result = first_record;
    if (result.ok() && !result->offset_unknown) result->offset += i - first;
    if (batch->all != nullptr) {
      answers->push_back({nullptr, batch->all, batch->base + i, n, result});
    }
    for (uint32_t k = i; !batch->each.empty() && k < i + n; ++k) {
      if (batch->each[k]) {
        answers->push_back({std::move(batch->each[k]), nullptr, k, 1, result});
      }
      if (result.ok() && !result->offset_unknown) ++result->offset;
    }
    i += n;
  }
}

void PublishLog::FailAll(const Error& error, std::vector<Answer>* answers) {
  for (std::deque<Batch>* batches : {&unconfirmed_, &ready_}) {
    for (Batch& batch : *batches) Answered(&batch, 0, batch.count, error, answers);
    batches->clear();
  }
  reserved_ = {};
  unanswered_ = 0;
}

Credit PublishLog::Unusable(bool stuck, uint64_t next_record_bytes) const {
  const Credit left = stuck ? SaturatingMinus(allowed(), sent_) : available();
  // It is about to be sent, if only once what is on its way is confirmed.
  if (next_record_bytes > 0 && Credit{1, next_record_bytes}.Within(left)) return {};
  return left;
}

std::optional<PublishLog::Demand> PublishLog::NextDemand(const Credit& waiting,
                                                         uint64_t next_record_bytes,
                                                         bool others_wait) {
  const bool stuck = !ready_.empty() && !(sent_ + reserved_).Within(allowed());
  if (stuck) next_record_bytes = ready_.front().BodyBytes(0);
  const Credit give = others_wait ? Unusable(stuck, next_record_bytes) : Credit{};
  returned_ += give;
  const Credit total = sent_ + returned_ + reserved_ + waiting;
  if (total.Within(limit_)) {
    // Met, or given up. What was met needs no word.
    const bool given_up = !stated_total_.Within(limit_);
    stated_total_ = {};
    stated_next_bytes_ = 0;
    if (!given_up && give.zero()) return std::nullopt;
    return Demand{.returned = returned_};
  }
  if (total.Within(stated_total_) && next_record_bytes == stated_next_bytes_ && give.zero()) {
    return std::nullopt;
  }
  stated_total_ = total;
  stated_next_bytes_ = next_record_bytes;
  return Demand{SaturatingMinus(total, limit_), next_record_bytes, returned_};
}

}  // namespace spillway::client::internal
