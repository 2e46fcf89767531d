#include "broker/runtime/publishers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/runtime/explain.h"
#include "broker/runtime/lane_actor.h"

namespace spillway::runtime {

PublisherSet::~PublisherSet() {
  for (const auto& stream : streams_) stream->lane = nullptr;
}

void PublisherSet::Open(const std::shared_ptr<PublisherStream>& stream, uint64_t resume_sequence) {
  // The store's epoch is unique and rises with each restart, so these do too.
  stream->epoch = (lane_->log_epoch() << 24) + ++opened_;
  stream->queue = lane_->name();
  stream->lane = lane_;
  streams_.push_back(stream);
  const std::string& id = *stream->producer_id;
  for (const auto& other : streams_) {
    if (other != stream && *other->producer_id == id && !other->failed) {
      Fail(*other, {.kind = ErrorKind::kFenced,
                    .message = absl::StrCat("a newer stream took over producer ", id),
                    .queue = lane_->name(),
                    .field = "open.producer_id"});
    }
  }
  const auto next = table_.Open(id, stream->epoch, resume_sequence);
  if (!next) {
    Fail(*stream, {.kind = ErrorKind::kLimitReached,
                   .message = "the queue has its most producers; close one first",
                   .queue = lane_->name(),
                   .limit = failure::ProducerTable::kMaxProducers});
    return;
  }
  stream->account = ledger_.Open();
  stream->active_at = lane_->env().now.mono;
  CountActive(*stream);
  Concern(*stream);
  PublisherOpened opened;
  opened.epoch = stream->epoch;
  opened.next_sequence = *next;
  opened.producer_id = id;
  opened.session = stream->id;
  opened.revision = lane_->revision();
  opened.tuning = lane_->core().tuning();
  lane_->env().inbox->Push([stream, opened] {
    if (stream->sink == nullptr || stream->failed) return;
    stream->announced = true;
    stream->sink->OnOpened(opened);
    if (stream->lane != nullptr) stream->lane->MarkDirty();
  });
}

void PublisherSet::Fail(PublisherStream& stream, Error error) {
  if (stream.failed) return;
  if (error.queue.empty()) error.queue = lane_->name();
  stream.failed = std::move(error);
  leaving_ = true;
  lane_->MarkDirty();
}

std::optional<Error> PublisherSet::CheckSizes(const wire::Records& records) const {
  const uint64_t most = lane_->core().tuning().max_message_bytes;
  if (records.Cost().bytes <= most) return std::nullopt;
  for (uint32_t i = 0; i < records.count(); ++i) {
    if (records.BodyBytes(i) <= most) continue;
    return TooLarge(absl::StrCat("publish.records[", i, "]"),
                    absl::StrCat("the record has ", records.BodyBytes(i),
                                 " bytes; the queue takes at most ", most, " (max_message_bytes)"),
                    most, records.BodyBytes(i));
  }
  return std::nullopt;
}

void PublisherSet::Publish(const std::shared_ptr<PublisherStream>& stream, uint64_t first_sequence,
                           uint32_t partition, wire::Records records) {
  if (stream->failed || !stream->account) return;
  lane_->MarkDirty();
  if (stream->closing) {
    return Fail(*stream, {.kind = ErrorKind::kProtocol, .message = "publish after close"});
  }
  if (partition != 0) {
    return Fail(*stream, InvalidArgument("publish.partition", "the queue has one partition, 0"));
  }
  const Credit cost = records.Cost();
  if (!ledger_.Receive(*stream->account, cost)) {
    const Credit left = ledger_.outstanding(*stream->account);
    const bool messages = cost.messages > left.messages;
    return Fail(*stream,
                {.kind = ErrorKind::kCreditExceeded,
                 .message = absl::StrCat("the frame has ", cost.messages, " messages and ",
                                         cost.bytes, " bytes; the credit left is ", left.messages,
                                         " messages and ", left.bytes, " bytes"),
                 .field = messages ? "messages" : "bytes",
                 .limit = messages ? left.messages : left.bytes,
                 .actual = messages ? cost.messages : cost.bytes});
  }
  stream->active_at = lane_->env().now.mono;
  CountActive(*stream);
  Concern(*stream);
  const uint64_t count = records.count();
  const std::string& id = *stream->producer_id;
  const auto judgement = table_.Judge(id, stream->epoch, first_sequence, count);
  using Verdict = failure::ProducerTable::Verdict;
  switch (judgement.verdict) {
    case Verdict::kNew:
      break;
    case Verdict::kDuplicate:
      totals_.duplicates += count;
      for (const auto& run : judgement.runs) {
        if (run.refused) {
          AddPending(stream, 0, {run.first_sequence, run.count, 0, false, true},
                     std::make_unique<Error>(Error{
                         .kind = ErrorKind::kInvalidArgument,
                         .message = "these sequences were refused before; send under new ones",
                         .queue = lane_->name(),
                         .field = "publish.first_sequence"}));
          continue;
        }
        const Offset end = run.known ? run.first_offset + run.count : 0;
        AddPending(stream, end, {run.first_sequence, run.count, run.first_offset, true, !run.known},
                   nullptr);
      }
      return;
    case Verdict::kGap:
    case Verdict::kStraddles:
      return Fail(*stream, {.kind = ErrorKind::kSequenceGap,
                            .message = absl::StrCat(
                                "the next sequence is ", judgement.expected, "; the batch has ",
                                first_sequence, " to ", first_sequence + count - 1,
                                judgement.verdict == Verdict::kStraddles
                                    ? ", partly sent before: send again with the same boundaries"
                                    : ""),
                            .field = "publish.first_sequence",
                            .limit = judgement.expected,
                            .actual = first_sequence});
    case Verdict::kFenced:
      return Fail(*stream, {.kind = ErrorKind::kFenced,
                            .message = "a newer stream took over this producer",
                            .field = "open.producer_id"});
  }
  if (auto error = CheckSizes(records)) {
    error->queue = lane_->name();
    table_.Refused(id, first_sequence, count);
    AddPending(stream, 0, {first_sequence, count, 0, false, true},
               std::make_unique<Error>(std::move(*error)));
    return;
  }
  totals_.published += cost;
  const Offset first =
      lane_->Append(std::move(records), {stream->producer_id, stream->epoch, first_sequence});
  table_.Accepted(id, first_sequence, count, first);
  AddPending(stream, first + count, {first_sequence, count, first, false, false}, nullptr);
}

void PublisherSet::AddPending(const std::shared_ptr<PublisherStream>& stream, Offset end,
                              ConfirmRun run, std::unique_ptr<Error> refusal) {
  const Durability level = lane_->core().tuning().durability;
  ++stream->unconfirmed;
  pending_.push_back(
      {level == Durability::kMemory ? 0 : end, stream, run, level, std::move(refusal)});
}

void PublisherSet::Demand(PublisherStream& stream, const DemandIn& demand) {
  if (stream.failed || !stream.account) return;
  lane_->MarkDirty();
  if (demand.returned) {
    using Verdict = credit::Ledger::ReturnVerdict;
    const Verdict verdict = ledger_.Return(*stream.account, *demand.returned);
    if (verdict != Verdict::kOk) {
      const Credit most = ledger_.returned(*stream.account) + ledger_.outstanding(*stream.account);
      const bool messages = demand.returned->messages > most.messages;
      return Fail(stream, verdict == Verdict::kRegressed
                              ? Error{.kind = ErrorKind::kCreditRegressed,
                                      .message = "a total of returned credit must not fall",
                                      .field = "demand.returned"}
                              : Error{.kind = ErrorKind::kCreditExceeded,
                                      .message = "more credit is returned than is unspent",
                                      .field = "demand.returned",
                                      .limit = messages ? most.messages : most.bytes,
                                      .actual = messages ? demand.returned->messages
                                                         : demand.returned->bytes});
    }
  }
  const uint64_t most = lane_->core().tuning().max_message_bytes;
  if (demand.next_record_bytes > most) {
    return Fail(stream, TooLarge("demand.next_record_bytes",
                                 absl::StrCat("the queue takes records of at most ", most,
                                              " bytes (max_message_bytes)"),
                                 most, demand.next_record_bytes));
  }
  if (stream.waiting == Credit{}) stream.waiting_since = lane_->env().now.mono;
  stream.waiting = demand.waiting;
  stream.next_record_bytes = demand.next_record_bytes;
  CountActive(stream);
  Concern(stream);
}

void PublisherSet::Close(PublisherStream& stream) {
  stream.closing = true;
  leaving_ = true;
  lane_->MarkDirty();
}

void PublisherSet::Detach(const std::shared_ptr<PublisherStream>& stream) {
  stream->sink = nullptr;
  leaving_ = true;
  Leave(*stream);
  lane_->MarkDirty();
}

void PublisherSet::Leave(PublisherStream& stream) {
  if (!stream.account) return;
  stream.last_granted = ledger_.granted(*stream.account);
  stream.last_received = ledger_.received(*stream.account);
  ledger_.Close(*stream.account);
  stream.account.reset();
  if (std::exchange(stream.counted, false)) --active_;
  table_.Disconnect(*stream.producer_id, stream.epoch);
}

void PublisherSet::FailAll(const Error& error) {
  for (const auto& stream : streams_) Fail(*stream, error);
  pending_.clear();
}

void PublisherSet::Flush(Offset stored_end, const credit::Pressure& pressure) {
  Confirm(stored_end);
  Plan(pressure);
  for (PublisherStream* stream : confirming_) {
    if (stream->sink != nullptr && !stream->confirms.empty()) SendConfirms(*stream, nullptr);
  }
  confirming_.clear();
  if (!leaving_) return;
  for (const auto& stream : streams_) {
    if (stream->sink == nullptr || !stream->announced) continue;
    if (stream->closing && stream->unconfirmed == 0 && !stream->failed) {
      Leave(*stream);
      std::exchange(stream->sink, nullptr)->OnFinished();
    }
  }
  Sweep();
}

void PublisherSet::Confirm(Offset stored_end) {
  while (!pending_.empty() && pending_.front().end <= stored_end) {
    Pending pending = std::move(pending_.front());
    pending_.pop_front();
    PublisherStream& stream = *pending.stream;
    --stream.unconfirmed;
    if (stream.sink == nullptr || stream.failed) continue;
    if (!stream.confirms.empty() && (pending.refusal || stream.confirm_level != pending.level)) {
      SendConfirms(stream, nullptr);
    }
    if (pending.refusal) {
      stream.sink->OnRefuse(pending.run.first_sequence, pending.run.count, *pending.refusal);
      continue;
    }
    stream.confirm_level = pending.level;
    if (stream.confirms.empty()) {
      confirming_.push_back(&stream);
      Concern(stream);  // a grant can ride on it
    } else {
      ConfirmRun& last = stream.confirms.back();
      const bool follows = last.first_sequence + last.count == pending.run.first_sequence &&
                           last.duplicate == pending.run.duplicate &&
                           last.offset_unknown == pending.run.offset_unknown;
      if (follows &&
          (last.offset_unknown || last.first_offset + last.count == pending.run.first_offset)) {
        last.count += pending.run.count;
        continue;
      }
    }
    stream.confirms.push_back(pending.run);
  }
}

void PublisherSet::SendConfirms(PublisherStream& stream, const GrantOut* grant) {
  stream.sink->OnConfirm(stream.confirms, stream.confirm_level, grant);
  stream.confirms.clear();
}

void PublisherSet::Concern(PublisherStream& stream) {
  if (std::exchange(stream.concerned, true)) return;
  concerned_.push_back(&stream);
}

void PublisherSet::CountActive(PublisherStream& stream) {
  if (!std::exchange(stream.counted, true)) ++active_;
}

void PublisherSet::CountAllActive() {
  const MonoNanos now = lane_->env().now.mono;
  active_ = 0;
  for (const auto& stream : streams_) {
    stream->counted =
        stream->account && (!(stream->waiting == Credit{}) ||
                            now - stream->active_at < credit::WindowSharePolicy::kIdleAfter);
    if (stream->counted) ++active_;
  }
}

template <typename Streams>
void PublisherSet::Ask(const Streams& streams, credit::Pressure pressure) {
  planned_.clear();
  claims_.clear();
  pressure.others_active = active_;
  for (const auto& stream : streams) {
    if (!stream->account || !stream->announced || stream->failed || stream->closing) continue;
    if (stream->counted) --pressure.others_active;
    credit::Claim claim;
    claim.outstanding = ledger_.outstanding(*stream->account);
    claim.waiting = stream->waiting;
    claim.next_record_bytes = stream->next_record_bytes;
    claim.waiting_since = stream->waiting_since;
    claim.active_at = stream->active_at;
    claim.riding = !stream->confirms.empty();
    planned_.push_back(&*stream);
    claims_.push_back(claim);
  }
  lane_->env().policy->Plan(pressure, claims_);
  refused_ = std::any_of(claims_.begin(), claims_.end(),
                         [](const auto& claim) { return claim.reason != credit::Reason::kNone; });
}

void PublisherSet::Plan(const credit::Pressure& pressure) {
  const MonoNanos now = lane_->env().now.mono;
  bool all = refused_ || now >= plan_all_at_ || pressure.stop != planned_stop_;
  if (!all && concerned_.empty()) return;
  planned_stop_ = pressure.stop;
  if (!all) {
    Ask(concerned_, pressure);
    all = refused_;
  }
  if (all) {
    plan_all_at_ = now + kPlanAllEvery;
    CountAllActive();
    Ask(streams_, pressure);
  }
  for (PublisherStream* stream : concerned_) stream->concerned = false;
  // Those that have not been told yet that they are open wait for their first credit.
  std::erase_if(concerned_, [](PublisherStream* stream) {
    stream->concerned = stream->account && !stream->announced && !stream->failed;
    return !stream->concerned;
  });
  for (size_t i = 0; i < planned_.size(); ++i) {
    PublisherStream& stream = *planned_[i];
    const credit::Claim& claim = claims_[i];
    Tell(stream, claim, pressure);
    if (claim.low || claim.reason != credit::Reason::kNone || !(stream.waiting == Credit{})) {
      Concern(stream);
    }
  }
}

void PublisherSet::Tell(PublisherStream& stream, const credit::Claim& claim,
                        const credit::Pressure& pressure) {
  const MonoNanos now = lane_->env().now.mono;
  const bool granted = !(claim.grant == Credit{});
  if (claim.reason != stream.reason) {
    stream.reason = claim.reason;
    stream.reason_since = now;
  }
  if (!granted && stream.reason == stream.told_reason) return;
  const Credit limit =
      granted ? ledger_.Grant(*stream.account, claim.grant, {pressure.window, pressure.held})
              : ledger_.granted(*stream.account);
  if (granted) {
    // It does not say again what it still waits for when it gets a part.
    stream.waiting -= {std::min(stream.waiting.messages, claim.grant.messages),
                       std::min(stream.waiting.bytes, claim.grant.bytes)};
  }
  stream.told_reason = stream.reason;
  GrantOut out;
  out.epoch = stream.epoch;
  out.limit = limit;
  out.reason = static_cast<pb::CreditReason>(stream.reason);
  out.reason_age_ms =
      stream.reason == credit::Reason::kNone ? 0 : (now - stream.reason_since) / kNanosPerMilli;
  out.window_bytes = pressure.window.bytes;
  out.window_used_bytes = pressure.held.bytes + ledger_.unspent().bytes;
  if (stream.sink == nullptr) return;
  if (stream.confirms.empty()) {
    stream.sink->OnGrant(out);
  } else {
    SendConfirms(stream, &out);
  }
}

void PublisherSet::Drain(const DrainOut& drain) {
  for (const auto& stream : streams_) {
    if (stream->sink != nullptr && stream->announced && !stream->failed) {
      stream->sink->OnDrain(drain);
    }
  }
}

void PublisherSet::OnTuning() {
  for (const auto& stream : streams_) {
    if (stream->sink != nullptr && stream->announced && !stream->failed) {
      stream->sink->OnTuning(lane_->revision(), lane_->core().tuning());
    }
  }
}

void PublisherSet::Sweep() {
  for (const auto& stream : streams_) {
    if (!stream->failed) continue;
    Leave(*stream);
    if (stream->sink != nullptr) std::exchange(stream->sink, nullptr)->OnClosed(*stream->failed);
  }
  std::erase_if(concerned_, [](const PublisherStream* stream) { return stream->sink == nullptr; });
  std::erase_if(streams_, [](const std::shared_ptr<PublisherStream>& stream) {
    if (stream->sink != nullptr) return false;
    stream->lane = nullptr;
    return true;
  });
  // Those that close when all is confirmed.
  leaving_ = std::any_of(streams_.begin(), streams_.end(),
                         [](const auto& stream) { return stream->closing; });
}

std::pair<credit::Reason, MonoNanos> PublisherSet::reason() const {
  std::pair<credit::Reason, MonoNanos> found{credit::Reason::kNone, 0};
  for (const auto& stream : streams_) {
    if (stream->reason == credit::Reason::kNone) continue;
    if (found.first == credit::Reason::kNone || stream->reason_since < found.second) {
      found = {stream->reason, stream->reason_since};
    }
  }
  return found;
}

// ---- PublisherStream ---------------------------------------------------------

void PublisherStream::CloseByOperator() {
  if (lane == nullptr) return;
  lane->publishers().Fail(
      *this,
      {.kind = ErrorKind::kClosed, .message = "an operator closed the session", .queue = queue});
}

pb::Session PublisherStream::Describe() const {
  pb::Session session = DescribeCommon(pb::SESSION_KIND_PRODUCER, *producer_id);
  Credit granted = last_granted;
  Credit received = last_received;
  if (account && lane != nullptr) {
    granted = lane->publishers().ledger().granted(*account);
    received = lane->publishers().ledger().received(*account);
  }
  SetCredit(granted, session.mutable_granted());
  SetCredit(received, session.mutable_used());
  return session;
}

void PublisherStream::Explain(MonoNanos now, pb::ExplainResponse* out) const {
  const pb::Session session = Describe();
  auto& numbers = *out->mutable_numbers();
  numbers["granted_messages"] = session.granted().messages();
  numbers["granted_bytes"] = session.granted().bytes();
  numbers["received_messages"] = session.used().messages();
  numbers["received_bytes"] = session.used().bytes();
  numbers["unconfirmed_frames"] = unconfirmed;
  if (reason == credit::Reason::kNone || lane == nullptr) return;
  AddStall(absl::StrCat("producer ", *producer_id), ToStall(reason), now - reason_since,
           {{"waiting_messages", waiting.messages},
            {"waiting_bytes", waiting.bytes},
            {"next_record_bytes", next_record_bytes}},
           out);
}

}  // namespace spillway::runtime
