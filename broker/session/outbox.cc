#include "broker/session/outbox.h"

#include <cassert>
#include <utility>

#include "broker/session/codec.h"

namespace spillway::session {
namespace {

// Slices of one delivery frame; more cost the transport more than another frame.
constexpr size_t kMaxSlices = 64;

constexpr uint32_t kConfirmField = pb::PublishResponse::kConfirmFieldNumber;
constexpr uint32_t kGrantField = pb::PublishResponse::kGrantFieldNumber;

size_t BytesOf(const wire::Delivery& delivery) {
  size_t n = 0;
  for (const wire::Slice& slice : delivery.fields) n += slice.length;
  return n;
}

// Whether `b` continues `a`, so that one run can say both.
bool Continues(const runtime::ConfirmRun& a, const runtime::ConfirmRun& b) {
  return a.first_sequence + a.count == b.first_sequence && a.duplicate == b.duplicate &&
         a.offset_unknown == b.offset_unknown &&
         (a.offset_unknown || a.first_offset + a.count == b.first_offset);
}

}  // namespace

void Outbox::Push(Item item, size_t bytes) {
  items_.push_back(std::move(item));
  bytes_ += bytes;
  back_bytes_ = bytes;
}

void Outbox::PushEncoded(std::string frame) {
  const size_t size = frame.size();
  Push(std::move(frame), size);
}

void Outbox::PushConfirm(std::span<const runtime::ConfirmRun> runs, Durability durability) {
  Confirms* confirms = nullptr;
  if (Item* last = back()) confirms = std::get_if<Confirms>(last);
  if (confirms == nullptr || confirms->durability != durability) {
    Push(Confirms{.runs = {}, .durability = durability}, 0);
    confirms = &std::get<Confirms>(items_.back());
  }
  for (const runtime::ConfirmRun& run : runs) {
    if (!confirms->runs.empty() && Continues(confirms->runs.back(), run)) {
      confirms->runs.back().count += run.count;
      continue;
    }
    confirms->runs.push_back(run);
    bytes_ += sizeof(run);
    back_bytes_ += sizeof(run);
  }
}

void Outbox::PushDelivery(wire::Delivery delivery) {
  const size_t size = BytesOf(delivery);
  wire::Delivery* last = nullptr;
  if (Item* item = back()) last = std::get_if<wire::Delivery>(item);
  if (last == nullptr || last->partition != delivery.partition ||
      back_bytes_ + size > delivery_frame_bytes_ ||
      last->fields.size() + delivery.fields.size() > kMaxSlices) {
    Push(std::move(delivery), size);
    return;
  }
  for (wire::DeliveryRun& run : delivery.runs) last->runs.push_back(run);
  for (wire::Slice& slice : delivery.fields) last->fields.push_back(std::move(slice));
  last->cost += delivery.cost;
  bytes_ += size;
  back_bytes_ += size;
}

std::string Outbox::EncodeConfirm(const Confirms& confirms) {
  confirm_.Clear();
  for (const runtime::ConfirmRun& run : confirms.runs) {
    pb::Confirm::Run* out = confirm_.add_runs();
    out->set_first_sequence(run.first_sequence);
    out->set_count(run.count);
    out->set_first_offset(run.first_offset);
    out->set_duplicate(run.duplicate);
    out->set_offset_unknown(run.offset_unknown);
  }
  confirm_.set_durability(static_cast<pb::Durability>(confirms.durability));
  if (grant_) {
    ToProto(*grant_, confirm_.mutable_grant());
    grant_.reset();
  }
  return EncodeFrame(kConfirmField, confirm_);
}

OutFrame Outbox::Pop() {
  assert(!empty());
  OutFrame frame;
  if (next_ == items_.size()) {
    pb::Grant grant;
    ToProto(*grant_, &grant);
    grant_.reset();
    frame.head = EncodeFrame(kGrantField, grant);
    return frame;
  }
  Item& item = items_[next_];
  size_t size = 0;
  if (auto* encoded = std::get_if<std::string>(&item)) {
    size = encoded->size();
    frame.head = std::move(*encoded);
  } else if (auto* confirms = std::get_if<Confirms>(&item)) {
    size = confirms->runs.size() * sizeof(runtime::ConfirmRun);
    frame.head = EncodeConfirm(*confirms);
  } else {
    auto& delivery = std::get<wire::Delivery>(item);
    size = BytesOf(delivery);
    frame.head = wire::EncodeDeliveryHeader(delivery);
    frame.fields = std::move(delivery.fields);
    delivered_ += delivery.cost;
  }
  bytes_ -= size;
  if (++next_ == items_.size()) {
    items_.clear();
    next_ = 0;
  } else if (next_ >= 1024) {
    // A queue that never empties must not keep what it has sent.
    items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(next_));
    next_ = 0;
  }
  frame.more = !empty();
  return frame;
}

void Outbox::Clear() {
  items_.clear();
  next_ = 0;
  grant_.reset();
  bytes_ = 0;
}

}  // namespace spillway::session
