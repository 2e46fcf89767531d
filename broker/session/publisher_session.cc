#include "broker/session/publisher_session.h"

#include <algorithm>
#include <utility>

#include "broker/session/validate.h"
#include "broker/wire/publish_scan.h"

namespace spillway::session {
namespace {

using In = pb::PublishRequest;
using Out = pb::PublishResponse;

}  // namespace

PublisherSession::PublisherSession(const SessionOptions& options, runtime::Broker* broker,
                                   Host* host, std::string peer, const Now& now)
    : StreamSession(options, host, std::move(peer), now), broker_(broker) {}

const StreamSession::Numbers& PublisherSession::numbers() const {
  static constexpr Numbers kNumbers = {.last = In::kCloseFieldNumber,
                                       .ping_in = In::kPingFieldNumber,
                                       .pong_in = In::kPongFieldNumber,
                                       .ping_out = Out::kPingFieldNumber,
                                       .pong_out = Out::kPongFieldNumber};
  return kNumbers;
}

StreamSession::Account PublisherSession::account() const {
  if (!handle_ || state_ == State::kOpening || state_ == State::kClosingEarly) return {};
  return {.epoch = handle_->epoch(),
          .received = handle_->received(),
          .granted = handle_->granted(),
          .limit_seen = {}};
}

void PublisherSession::Handle(const wire::FrameField& field, const wire::Buffer& frame) {
  switch (field.number) {
    case In::kPublishFieldNumber:
      return HandlePublish(frame);
    case In::kOpenFieldNumber:
      return HandleOpen(field);
    case In::kDemandFieldNumber:
      return HandleDemand(field);
    case In::kCloseFieldNumber:
      return HandleClose(field);
    default:
      return Fail(InvalidArgument("frame", "frame is unknown"));
  }
}

void PublisherSession::HandleOpen(const wire::FrameField& field) {
  pb::PublishOpen open;
  if (!Advance(Event::kOpenFrame, "open") || !Parse(field, "open", &open)) return;
  std::optional<Error> error = CheckProtocol(open.protocol());
  if (!error) error = CheckName(open.queue(), "open.queue");
  if (!error && !open.producer_id().empty()) {
    error = CheckName(open.producer_id(), "open.producer_id");
  }
  if (!error) error = CheckClient(open.client());
  if (error) return Fail(std::move(*error));
  handle_ = broker_->OpenPublisher({.queue = open.queue(),
                                    .producer_id = open.producer_id(),
                                    .resume_sequence = open.resume_sequence(),
                                    .client = open.client(),
                                    .peer = peer_},
                                   this);
}

void PublisherSession::HandlePublish(const wire::Buffer& frame) {
  if (!Advance(Event::kDataFrame, "publish")) return;
  Result<wire::PublishFrame> scanned = wire::ScanPublish(frame, options_.records);
  if (!scanned) return Fail(std::move(scanned.error()));
  if (frame.size() > options_.max_batch_bytes && scanned->records.count() > 1) {
    return Fail(TooLarge("publish", "publish is larger than a batch may be",
                         options_.max_batch_bytes, frame.size()));
  }
  if (scanned->first_sequence == 0) {
    return Fail(InvalidArgument("publish.first_sequence",
                                "publish.first_sequence must be set; sequences begin at 1"));
  }
  if (scanned->first_sequence > UINT64_MAX - scanned->records.count()) {
    return Fail(InvalidArgument("publish.first_sequence",
                                "publish.first_sequence passes the largest sequence"));
  }
  std::optional<Error> error = CheckPartition(scanned->partition, "publish.partition");
  if (error) return Fail(std::move(*error));
  handle_->Publish(scanned->first_sequence, scanned->partition, std::move(scanned->records));
}

void PublisherSession::HandleDemand(const wire::FrameField& field) {
  pb::Demand demand;
  if (!Advance(Event::kDataFrame, "demand") || !Parse(field, "demand", &demand)) return;
  runtime::DemandIn in{.waiting = FromProto(demand.waiting()),
                       .next_record_bytes = demand.next_record_bytes(),
                       .returned = std::nullopt};
  if (demand.has_returned()) in.returned = FromProto(demand.returned());
  handle_->Demand(in);
}

void PublisherSession::HandleClose(const wire::FrameField& field) {
  pb::Close close;
  if (!Advance(Event::kCloseFrame, "close") || !Parse(field, "close", &close)) return;
  if (state_ == State::kClosing) handle_->Close();
}

void PublisherSession::OnOpened(const runtime::PublisherOpened& opened) {
  if (!Advance(Event::kOpened, "opened")) return;
  pb::PublishOpened out;
  out.set_protocol(registry::limit::kProtocolVersion);
  out.set_epoch(opened.epoch);
  out.set_next_sequence(opened.next_sequence);
  out.set_producer_id(opened.producer_id);
  out.set_session(opened.session);
  out.set_revision(opened.revision);
  ToProto(opened.tuning, out.mutable_tuning());
  out.set_max_batch_bytes(options_.max_batch_bytes);
  out.set_max_batch_records(options_.records.max_batch_records);
  out.set_heartbeat_ms(static_cast<uint64_t>(options_.heartbeat / kNanosPerMilli));
  out.set_dead_after_ms(static_cast<uint64_t>(options_.dead_after / kNanosPerMilli));
  Push(Out::kOpenedFieldNumber, out);
  if (state_ == State::kClosing) handle_->Close();
}

void PublisherSession::OnConfirm(std::span<const runtime::ConfirmRun> runs, Durability durability,
                                 const runtime::GrantOut* grant) {
  if (ended()) return;
  if (!runs.empty()) outbox_.PushConfirm(runs, durability);
  if (grant != nullptr) outbox_.SetGrant(*grant);
  Dirty();
}

void PublisherSession::OnGrant(const runtime::GrantOut& grant) {
  if (ended()) return;
  outbox_.SetGrant(grant);
  Dirty();
}

void PublisherSession::OnRefuse(uint64_t first_sequence, uint64_t count, const Error& error) {
  if (ended()) return;
  pb::Refuse refuse;
  refuse.set_first_sequence(first_sequence);
  refuse.set_count(count);
  ToProto(error, refuse.mutable_error());
  Push(Out::kRefuseFieldNumber, refuse);
}

void PublisherSession::OnTuning(uint64_t revision, const queue::Tuning& tuning) {
  if (ended()) return;
  pb::TuningChanged changed;
  changed.set_revision(revision);
  ToProto(tuning, changed.mutable_tuning());
  Push(Out::kTuningFieldNumber, changed);
}

void PublisherSession::OnDrain(const runtime::DrainOut& drain) {
  if (ended()) return;
  pb::Drain out;
  out.set_deadline_ms(drain.deadline_ms);
  out.set_reconnect_after_ms(drain.reconnect_after_ms);
  Push(Out::kDrainFieldNumber, out);
}

}  // namespace spillway::session
