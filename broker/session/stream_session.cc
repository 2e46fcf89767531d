#include "broker/session/stream_session.h"

#include <algorithm>
#include <utility>

namespace spillway::session {
namespace {

Error Mismatch(std::string message, uint64_t ours, uint64_t theirs) {
  return {.kind = ErrorKind::kCounterMismatch,
          .message = std::move(message),
          .limit = ours,
          .actual = theirs};
}

Error WrongEpoch(uint64_t ours, uint64_t theirs) {
  return {.kind = ErrorKind::kFenced,
          .message = "the frame names an epoch that is not the stream's",
          .limit = ours,
          .actual = theirs};
}

Error TimedOut(std::string message) {
  return {.kind = ErrorKind::kTimedOut, .message = std::move(message)};
}

}  // namespace

StreamSession::StreamSession(const SessionOptions& options, Host* host, std::string peer,
                             const Now& now)
    : options_(options),
      peer_(std::move(peer)),
      outbox_(options.delivery_frame_bytes),
      host_(host),
      born_(now.mono),
      last_received_(now.mono),
      last_sent_(now.mono) {}

void StreamSession::OnFrame(const wire::Buffer& frame, const Now& now) {
  if (ended()) return;
  last_received_ = now.mono;
  Result<wire::FrameField> field = wire::FindFrame(frame.view(), numbers().last);
  if (!field) return Fail(std::move(field.error()));
  if (field->number == numbers().ping_in) return HandlePing(*field);
  if (field->number == numbers().pong_in) return HandlePong(*field);
  Handle(*field, frame);
}

void StreamSession::OnHalfClosed() {
  half_closed_ = true;
  if (state_ == State::kClosing || state_ == State::kClosingEarly || ended()) return;
  Fail({.kind = ErrorKind::kProtocol,
        .message = "the stream was half-closed without Close; what was sent still counts"});
}

std::optional<OutFrame> StreamSession::NextFrame(const Now& now) {
  if (ended()) DropHandle();
  if (outbox_.empty()) {
    if (!ping_due_ || ended()) return std::nullopt;
    const Account ours = account();
    last_ping_ = MakePing(++last_ping_id_, ours.epoch, outbox_.delivered(), ours.limit_seen);
    outbox_.PushEncoded(EncodeFrame(numbers().ping_out, last_ping_));
  }
  ping_due_ = false;
  OutFrame frame = outbox_.Pop();
  last_sent_ = now.mono;
  write_since_ = now.mono;
  written_bytes_ = frame.bytes();
  return frame;
}

void StreamSession::OnWritten(const Now&) {
  write_since_.reset();
  written_bytes_ = 0;
  if (!ended()) OnRoom();
}

MonoNanos StreamSession::Tick(const Now& now) {
  constexpr MonoNanos kNever = INT64_MAX;
  if (abandoned_) return kNever;
  MonoNanos next = kNever;
  if (write_since_) {
    const MonoNanos due = *write_since_ + options_.slow_reader_after;
    if (now.mono >= due) {
      abandoned_ = true;
      outbox_.Clear();
      Fail({.kind = ErrorKind::kSlowReader,
            .message = "the peer did not read for too long",
            .limit = options_.outbound_target_bytes,
            .actual = written_bytes_});
      host_->Dirty();
      return kNever;
    }
    next = std::min(next, due);
  }
  if (ended()) return next;

  if (state_ == State::kAwaitingOpen) {
    const MonoNanos due = born_ + options_.open_timeout;
    if (now.mono >= due) {
      Fail(TimedOut("no Open came in time"));
      return next;
    }
    return std::min({next, due, now.mono + options_.heartbeat / 5});
  }
  // A peer that half-closed after Close has nothing left to say; the transport's
  // keepalive watches over it.
  if (!half_closed_) {
    const MonoNanos due = last_received_ + options_.dead_after;
    if (now.mono >= due) {
      Fail(TimedOut("nothing was heard of the peer for too long"));
      return next;
    }
    next = std::min(next, due);
  }
  // A client asks at its heartbeat, and has its answer: the broker asks a fifth later,
  // so that not both do, for thousands of streams that are idle.
  const MonoNanos due = last_sent_ + options_.heartbeat + options_.heartbeat / 5;
  if (now.mono < due) {
    // Nobody calls when a write begins: in time to see that one takes too long.
    return std::min({next, due, now.mono + options_.slow_reader_after});
  }
  if (!write_since_ && outbox_.empty()) {
    ping_due_ = true;
    host_->Dirty();
  }
  // Nobody calls when it is sent.
  return std::min(next, now.mono + options_.heartbeat / 5);
}

bool StreamSession::Advance(Event event, std::string_view what) {
  const std::optional<State> next = Next(state_, event);
  if (!next) {
    Fail({.kind = ErrorKind::kProtocol,
          .message = std::string(what) + " is not allowed while the stream is " +
                     std::string(StateName(state_)),
          .field = std::string(what)});
    return false;
  }
  state_ = *next;
  return true;
}

void StreamSession::Fail(Error error) {
  if (ended()) return;
  EndByLane(std::move(error));
  DropHandle();
}

void StreamSession::EndByLane(std::optional<Error> error) {
  if (ended()) return;
  state_ = State::kEnded;
  error_ = std::move(error);
  host_->Dirty();
}

void StreamSession::Push(uint32_t number, const google::protobuf::Message& message) {
  outbox_.PushEncoded(EncodeFrame(number, message));
  CheckOutbound();
  host_->Dirty();
}

void StreamSession::CheckOutbound() {
  if (outbox_.bytes() <= options_.outbound_max_bytes || ended()) return;
  const size_t waiting = outbox_.bytes();
  outbox_.Clear();
  // Perhaps from within a sink, so the handle stays until NextFrame.
  EndByLane(Error{.kind = ErrorKind::kSlowReader,
                  .message = "more answers wait than the peer reads",
                  .limit = options_.outbound_max_bytes,
                  .actual = waiting});
}

bool StreamSession::Parse(const wire::FrameField& field, std::string_view name,
                          google::protobuf::Message* message) {
  std::optional<Error> error = ParseField(field.body, name, message);
  if (!error) return true;
  Fail(std::move(*error));
  return false;
}

void StreamSession::HandlePing(const wire::FrameField& field) {
  pb::Ping ping;
  if (!Advance(Event::kLiveFrame, "ping") || !Parse(field, "ping", &ping)) return;
  const Account ours = account();
  if (ping.epoch() != ours.epoch) return Fail(WrongEpoch(ours.epoch, ping.epoch()));
  const Credit sent = FromProto(ping.sent());
  if (sent != ours.received) {
    return Fail(
        Mismatch("ping.sent differs from what arrived", ours.received.messages, sent.messages));
  }
  const Credit seen = FromProto(ping.limit_seen());
  if (!seen.Within(ours.granted)) {
    return Fail(
        Mismatch("ping.limit_seen is more than was granted", ours.granted.messages, seen.messages));
  }
  Push(numbers().pong_out, MakePong(ping.id(), ours.epoch, ours.received, ours.granted));
}

void StreamSession::HandlePong(const wire::FrameField& field) {
  pb::Pong pong;
  if (!Advance(Event::kLiveFrame, "pong") || !Parse(field, "pong", &pong)) return;
  if (pong.id() > last_ping_id_ || pong.id() == 0) {
    return Fail(
        {.kind = ErrorKind::kProtocol, .message = "pong answers no ping", .field = "pong.id"});
  }
  // The answer to an earlier ping than the last, or a second one: only life.
  if (pong.id() != last_ping_.id()) return;
  if (pong.epoch() != last_ping_.epoch()) {
    return Fail(WrongEpoch(last_ping_.epoch(), pong.epoch()));
  }
  const Credit received = FromProto(pong.received());
  const Credit sent = FromProto(last_ping_.sent());
  if (received != sent) {
    return Fail(
        Mismatch("pong.received differs from what was sent", sent.messages, received.messages));
  }
  const Credit seen = FromProto(last_ping_.limit_seen());
  if (!seen.Within(FromProto(pong.limit()))) {
    return Fail(Mismatch("pong.limit is less than the broker has seen", seen.messages,
                         pong.limit().messages()));
  }
  last_ping_.set_id(0);
}

}  // namespace spillway::session
