#include "broker/session/consumer_session.h"

#include <utility>

#include "broker/session/validate.h"

namespace spillway::session {
namespace {

using In = pb::ConsumeRequest;
using Out = pb::ConsumeResponse;

template <typename Message>
void SetRanges(std::span<const OffsetRange> ranges, Message* out) {
  for (const OffsetRange& range : ranges) {
    pb::OffsetRange* r = out->add_ranges();
    r->set_first_offset(range.first);
    r->set_count(range.count);
  }
}

}  // namespace

ConsumerSession::ConsumerSession(const SessionOptions& options, runtime::Broker* broker, Host* host,
                                 std::string peer, const Now& now)
    : StreamSession(options, host, std::move(peer), now), broker_(broker) {}

const StreamSession::Numbers& ConsumerSession::numbers() const {
  static constexpr Numbers kNumbers = {.last = In::kCloseFieldNumber,
                                       .ping_in = In::kPingFieldNumber,
                                       .pong_in = In::kPongFieldNumber,
                                       .ping_out = Out::kPingFieldNumber,
                                       .pong_out = Out::kPongFieldNumber};
  return kNumbers;
}

StreamSession::Account ConsumerSession::account() const {
  if (!handle_ || state_ == State::kOpening || state_ == State::kClosingEarly) return {};
  return {.epoch = handle_->epoch(), .received = {}, .granted = {}, .limit_seen = handle_->limit()};
}

void ConsumerSession::Handle(const wire::FrameField& field, const wire::Buffer&) {
  switch (field.number) {
    case In::kSettleFieldNumber:
      return HandleSettle(field);
    case In::kGrantFieldNumber:
      return HandleGrant(field);
    case In::kExtendFieldNumber:
      return HandleExtend(field);
    case In::kOpenFieldNumber:
      return HandleOpen(field);
    case In::kCloseFieldNumber:
      return HandleClose(field);
    default:
      return Fail(InvalidArgument("frame", "frame is unknown"));
  }
}

void ConsumerSession::HandleOpen(const wire::FrameField& field) {
  runtime::ConsumerOpen open{.request = {}, .peer = peer_};
  pb::ConsumeOpen& request = open.request;
  if (!Advance(Event::kOpenFrame, "open") || !Parse(field, "open", &request)) return;
  std::optional<Error> error = CheckProtocol(request.protocol());
  if (!error) error = CheckName(request.queue(), "open.queue");
  if (!error) error = CheckClient(request.client());
  if (!error) error = CheckPartition(request.partition(), "open.partition");
  if (!error && request.target_case() == pb::ConsumeOpen::TARGET_NOT_SET) {
    error = InvalidArgument("open.target", "open.group or open.reader must be set");
  }
  if (!error && request.has_group()) {
    error = CheckName(request.group().group(), "open.group.group");
    if (!error && request.group().held_size() > 0) {
      error = ReadRanges(request.group().held(), "open.group.held", registry::limit::kMaxHeldRanges,
                         &ranges_);
    }
    if (!error && !pb::GroupMode_IsValid(request.group().mode())) {
      error = InvalidArgument("open.group.mode", "open.group.mode is unknown");
    }
  }
  if (error) return Fail(std::move(*error));
  reader_ = request.has_reader();
  handle_ = broker_->OpenConsumer(open, this);
}

bool ConsumerSession::RefuseReader(std::string_view what) {
  if (!reader_) return false;
  Fail({.kind = ErrorKind::kProtocol,
        .message = std::string(what) + " is for members of a group; a reader has no cursor",
        .field = std::string(what)});
  return true;
}

void ConsumerSession::HandleSettle(const wire::FrameField& field) {
  if (!Advance(Event::kDataFrame, "settle") || !Parse(field, "settle", &settle_)) return;
  if (RefuseReader("settle")) return;
  std::optional<Error> error =
      ReadRanges(settle_.ranges(), "settle.ranges", options_.max_ranges, &ranges_);
  if (!error && (settle_.action() == pb::SETTLE_ACTION_UNSPECIFIED ||
                 !pb::SettleAction_IsValid(settle_.action()))) {
    error = InvalidArgument("settle.action", "settle.action must be a known action");
  }
  if (!error && settle_.reason().size() > registry::limit::kMaxReasonBytes) {
    error = TooLarge("settle.reason", "settle.reason is longer than allowed",
                     registry::limit::kMaxReasonBytes, settle_.reason().size());
  }
  if (!error) error = CheckPartition(settle_.partition(), "settle.partition");
  if (error) return Fail(std::move(*error));
  handle_->Settle({.ranges = ranges_,
                   .action = settle_.action(),
                   .delay_ms = settle_.delay_ms(),
                   .reason = settle_.reason()});
  if (settle_.has_grant()) TakeGrant(settle_.grant(), "settle.grant");
}

void ConsumerSession::HandleGrant(const wire::FrameField& field) {
  pb::Grant grant;
  if (!Advance(Event::kDataFrame, "grant") || !Parse(field, "grant", &grant)) return;
  TakeGrant(grant, "grant");
}

void ConsumerSession::TakeGrant(const pb::Grant& grant, std::string_view field) {
  if (grant.epoch() != handle_->epoch()) {
    return Fail({.kind = ErrorKind::kFenced,
                 .message = "the grant is for an epoch that is not the stream's",
                 .field = std::string(field) + ".epoch",
                 .limit = handle_->epoch(),
                 .actual = grant.epoch()});
  }
  if (!grant.has_limit()) {
    std::string path = std::string(field) + ".limit";
    return Fail(InvalidArgument(path, path + " must be set"));
  }
  handle_->Grant(grant.epoch(), FromProto(grant.limit()));
}

void ConsumerSession::HandleExtend(const wire::FrameField& field) {
  pb::Extend extend;
  if (!Advance(Event::kDataFrame, "extend") || !Parse(field, "extend", &extend)) return;
  if (RefuseReader("extend")) return;
  std::optional<Error> error =
      ReadRanges(extend.ranges(), "extend.ranges", options_.max_ranges, &ranges_);
  if (!error) error = CheckPartition(extend.partition(), "extend.partition");
  if (error) return Fail(std::move(*error));
  handle_->Extend(ranges_);
}

void ConsumerSession::HandleClose(const wire::FrameField& field) {
  pb::Close close;
  if (!Advance(Event::kCloseFrame, "close") || !Parse(field, "close", &close)) return;
  if (state_ == State::kClosing) handle_->Close();
}

bool ConsumerSession::CanDeliver() const {
  if (!ended() && waiting_bytes() < options_.outbound_target_bytes) return true;
  refused_delivery_ = true;
  return false;
}

void ConsumerSession::OnRoom() {
  if (!refused_delivery_ || !handle_ || !CanDeliver()) return;
  refused_delivery_ = false;
  handle_->Writable();
}

void ConsumerSession::OnOpened(const runtime::ConsumerOpened& opened) {
  if (!Advance(Event::kOpened, "opened")) return;
  pb::ConsumeOpened out;
  out.set_protocol(registry::limit::kProtocolVersion);
  out.set_epoch(opened.epoch);
  out.set_session(opened.session);
  out.set_revision(opened.revision);
  ToProto(opened.tuning, out.mutable_tuning());
  out.set_start_offset(opened.start);
  out.set_head_offset(opened.head);
  out.set_tail_offset(opened.tail);
  if (!reader_) out.set_mode(static_cast<pb::GroupMode>(opened.mode));
  ToProto(opened.max_in_flight, out.mutable_max_in_flight());
  out.set_heartbeat_ms(static_cast<uint64_t>(options_.heartbeat / kNanosPerMilli));
  out.set_dead_after_ms(static_cast<uint64_t>(options_.dead_after / kNanosPerMilli));
  Push(Out::kOpenedFieldNumber, out);
  if (state_ == State::kClosing) handle_->Close();
}

void ConsumerSession::OnDelivery(wire::Delivery delivery) {
  if (ended()) return;
  outbox_.PushDelivery(std::move(delivery));
  Dirty();
}

void ConsumerSession::OnRevoke(std::span<const OffsetRange> ranges, pb::RevokeReason reason) {
  if (ended()) return;
  pb::Revoke revoke;
  SetRanges(ranges, &revoke);
  revoke.set_reason(reason);
  Push(Out::kRevokeFieldNumber, revoke);
}

void ConsumerSession::OnGap(std::span<const OffsetRange> ranges, pb::GapReason reason) {
  if (ended()) return;
  pb::Gap gap;
  SetRanges(ranges, &gap);
  gap.set_reason(reason);
  Push(Out::kGapFieldNumber, gap);
}

void ConsumerSession::OnEnd(pb::EndReason reason, Offset next) {
  if (ended()) return;
  pb::End end;
  end.set_reason(reason);
  end.set_next_offset(next);
  Push(Out::kEndFieldNumber, end);
}

void ConsumerSession::OnTuning(uint64_t revision, const queue::Tuning& tuning) {
  if (ended()) return;
  pb::TuningChanged changed;
  changed.set_revision(revision);
  ToProto(tuning, changed.mutable_tuning());
  Push(Out::kTuningFieldNumber, changed);
}

void ConsumerSession::OnDrain(const runtime::DrainOut& drain) {
  if (ended()) return;
  pb::Drain out;
  out.set_deadline_ms(drain.deadline_ms);
  out.set_reconnect_after_ms(drain.reconnect_after_ms);
  Push(Out::kDrainFieldNumber, out);
}

}  // namespace spillway::session
