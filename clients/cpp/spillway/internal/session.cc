#include "clients/cpp/spillway/internal/session.h"

#include <algorithm>
#include <utility>

#include "clients/cpp/spillway/internal/wire.h"

namespace spillway::client::internal {
namespace {

Credit FromProtoCredit(const v1::Credit& credit) { return {credit.messages(), credit.bytes()}; }

Error Mismatch(const Credit& here, const Credit& there) {
  return {.kind = ErrorKind::kCounterMismatch,
          .message = "the broker's counters differ from the client's",
          .limit = here.messages,
          .actual = there.messages};
}

}  // namespace

Status Session::Open() {
  std::unique_lock lock(mu_);
  // As each time that it connects again: what completes a stream's operations began it.
  core_->loop().Post([self = shared_from_this()] {
    const std::lock_guard connecting(self->mu_);
    if (self->state_ == State::kNew) self->ConnectLocked();
  });
  const Clock::time_point deadline = Clock::now() + core_->options().connect_timeout;
  changed_.wait_until(lock, deadline, [this] {
    return ever_open_ || state_ == State::kClosed ||
           (core_->options().fail_fast && state_ == State::kWaiting);
  });
  // A reader whose stop is where it starts has ended by now.
  if (ever_open_) return Ok();
  Error error = error_ ? *error_
                       : last_error_.value_or(Error{
                             .kind = ErrorKind::kTimedOut,
                             .message = "no answer from " + core_->options().address + " in time"});
  if (state_ != State::kClosed) TerminateLocked(error);
  return error;
}

Status Session::Close(Timeout timeout) {
  std::unique_lock lock(mu_);
  closing_ = true;
  if (state_ == State::kNew || (state_ == State::kWaiting && IdleLocked())) TerminateLocked({});
  PumpLocked();
  const auto closed = [this] { return state_ == State::kClosed; };
  if (timeout == kForever) {
    changed_.wait(lock, closed);
  } else if (!changed_.wait_for(lock, timeout, closed)) {
    const Error error{.kind = ErrorKind::kTimedOut,
                      .message =
                          "closing took longer than allowed; what is unconfirmed has an "
                          "unknown outcome"};
    TerminateLocked(error);
    return error;
  }
  return error_ ? Status(*error_) : Ok();
}

void Session::Abandon() {
  const std::lock_guard lock(mu_);
  TerminateLocked({.kind = ErrorKind::kClosed, .message = "closed by the application"});
}

std::string Session::session_id() const {
  const std::lock_guard lock(mu_);
  return session_id_;
}

uint64_t Session::reconnects() const {
  const std::lock_guard lock(mu_);
  return reconnects_;
}

void Session::ConnectLocked() {
  state_ = State::kConnecting;
  started_ = writing_ = close_sent_ = asking_ = false;
  pong_.reset();
  cancel_cause_.reset();
  heartbeat_ = core_->options().heartbeat;
  dead_after_ = core_->options().dead_after;
  stream_ = Stream::Open(core_->channel(), &core_->loop(), method_, shared_from_this());
  connect_deadline_ = Clock::now() + core_->options().connect_timeout;
  ArmLocked(connect_deadline_);
}

void Session::OnStarted(Stream* stream) {
  const std::lock_guard lock(mu_);
  if (stream != stream_.get()) return;
  started_ = true;
  last_received_ = Clock::now();
  WriteLocked(OpenFrameLocked());
}

void Session::OnFrame(Stream* stream, const grpc::ByteBuffer& frame) {
  std::unique_lock lock(mu_);
  if (stream != stream_.get() || cancel_cause_) return;
  last_received_ = Clock::now();
  grpc::Slice slice;
  Status status = Flatten(frame, &slice)
                      ? ReceiveLocked(View(slice), slice)
                      : Status(Error{.kind = ErrorKind::kProtocol, .message = "unreadable frame"});
  if (!status.ok() && stream_ != nullptr) {
    cancel_cause_ = status.error();
    stream_->Cancel();
  }
  PumpLocked();
  Announce(&lock);
}

void Session::OnWritten(Stream* stream) {
  const std::lock_guard lock(mu_);
  if (stream != stream_.get()) return;
  writing_ = false;
  PumpLocked();
}

void Session::OnEnded(Stream* stream, const Error& error) {
  std::unique_lock lock(mu_);
  if (stream != stream_.get()) return;
  stream_.reset();
  core_->loop().Cancel(timer_);
  const Error cause = cancel_cause_.value_or(error);
  const bool ok = cause.kind == ErrorKind::kUnspecified;
  // A group's only member that comes back meets its own stream, not yet taken for dead.
  const bool taken_for_another = ever_open_ && cause.kind == ErrorKind::kExclusive;
  if (close_sent_ && ok) FinishedLocked();
  if (closing_ && close_sent_ && ok) {
    TerminateLocked({});
  } else if (ok || IsRetryable(cause) || taken_for_another) {
    RetryLocked(cause);
  } else {
    TerminateLocked(cause);
  }
  Announce(&lock);
}

void Session::RetryLocked(const Error& error) {
  const ClientOptions& options = core_->options();
  const Clock::time_point now = Clock::now();
  const bool drained = state_ == State::kDraining;
  if (OpenLocked()) {
    BrokenLocked();
    if (now - opened_at_ >= options.reconnect_reset_after) backoff_.Reset();
  }
  last_error_ = error;
  state_ = State::kWaiting;
  const milliseconds at_least(error.retry_after_ms);
  const milliseconds wait =
      drained ? std::max(reconnect_after_, at_least)
              : backoff_.Next(core_->TakeRetry(), at_least,
                              [this](milliseconds most) { return core_->Jitter(most); });
  reconnect_at_ = now + wait;
  ArmLocked(reconnect_at_);
  changed_.notify_all();
}

void Session::TerminateLocked(const Error& error) {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  core_->loop().Cancel(timer_);
  if (error.kind != ErrorKind::kUnspecified) error_ = error;
  if (stream_ != nullptr) {
    stream_->Cancel();
    stream_.reset();  // it lives on until its operations have completed
  }
  FailedLocked(error.kind != ErrorKind::kUnspecified
                   ? error
                   : Error{.kind = ErrorKind::kClosed, .message = "the session is closed"});
  changed_.notify_all();
  // Not from here: the caller may be the application's thread.
  core_->loop().Post([self = shared_from_this()] {
    std::unique_lock lock(self->mu_);
    self->Announce(&lock);
  });
}

void Session::OpenedLocked(std::string session, uint64_t heartbeat_ms, uint64_t dead_after_ms) {
  session_id_ = std::move(session);
  if (heartbeat_ms != 0) heartbeat_ = milliseconds(heartbeat_ms);
  if (dead_after_ms != 0) dead_after_ = milliseconds(dead_after_ms);
  state_ = State::kOpen;
  opened_at_ = last_ping_at_ = Clock::now();
  if (ever_open_) ++reconnects_;
  ever_open_ = true;
  core_->Succeeded();
  ArmLocked(opened_at_ + heartbeat_ / 2);
  changed_.notify_all();
}

void Session::DrainLocked(uint64_t /*deadline_ms*/, uint64_t reconnect_after_ms) {
  if (state_ != State::kOpen) return;
  state_ = State::kDraining;
  reconnect_after_ = milliseconds(reconnect_after_ms);
}

Status Session::PingedLocked(const v1::Ping& ping, uint64_t epoch, const Credit& received,
                             const Credit& limit) {
  if (ping.epoch() == epoch && FromProtoCredit(ping.sent()) != received) {
    return Mismatch(received, FromProtoCredit(ping.sent()));
  }
  v1::Pong pong;
  pong.set_id(ping.id());
  pong.set_epoch(epoch);
  pong.mutable_received()->set_messages(received.messages);
  pong.mutable_received()->set_bytes(received.bytes);
  pong.mutable_limit()->set_messages(limit.messages);
  pong.mutable_limit()->set_bytes(limit.bytes);
  pong_ = pong;
  return Ok();
}

Status Session::PongedLocked(const v1::Pong& pong, uint64_t epoch) {
  if (pong.epoch() != epoch || pong.id() != last_ping_ || !asking_) return Ok();
  asking_ = false;
  // Both sides' order is the stream's, so the broker has received just what had
  // been sent before the Ping; that is what ping_sent_ holds.
  if (FromProtoCredit(pong.received()) != ping_sent_) {
    return Mismatch(ping_sent_, FromProtoCredit(pong.received()));
  }
  AnsweredLocked();
  return Ok();
}

void Session::PingLocked() {
  v1::Ping ping;
  CountersLocked(&ping);
  ping.set_id(++last_ping_);
  ping_sent_ = FromProtoCredit(ping.sent());
  asking_ = true;
  last_ping_at_ = Clock::now();
  PingingLocked();
  WriteLocked(PingFrameLocked(ping));
}

void Session::WriteLocked(const grpc::ByteBuffer& frame) {
  writing_ = true;
  stream_->Write(frame);
}

void Session::PumpLocked() {
  if (writing_ || close_sent_ || stream_ == nullptr || !OpenLocked() || cancel_cause_) return;
  if (pong_) {
    WriteLocked(PongFrameLocked(*std::exchange(pong_, std::nullopt)));
    return;
  }
  // Also while other frames flow: it compares the counters under load.
  if (Clock::now() - last_ping_at_ >= heartbeat_) return PingLocked();
  if (std::optional<grpc::ByteBuffer> frame = NextFrameLocked()) {
    WriteLocked(*frame);
    return;
  }
  if ((closing_ || state_ == State::kDraining) && IdleLocked()) {
    close_sent_ = true;
    WriteLocked(CloseFrameLocked());
    return;
  }
  if (!asking_ && WantsPongLocked()) PingLocked();
}

void Session::ArmLocked(Clock::time_point when) {
  core_->loop().Cancel(timer_);
  timer_ = core_->loop().At(when, [weak = weak_from_this()] {
    if (const std::shared_ptr<Session> self = weak.lock()) self->OnTimer();
  });
}

void Session::OnTimer() {
  std::unique_lock lock(mu_);
  const Clock::time_point now = Clock::now();
  switch (state_) {
    case State::kConnecting:
      if (now < connect_deadline_) return ArmLocked(connect_deadline_);
      cancel_cause_ = Error{.kind = ErrorKind::kTimedOut,
                            .message = "no answer from " + core_->options().address + " in time"};
      return stream_->Cancel();
    case State::kWaiting:
      if (closing_ && IdleLocked()) {
        TerminateLocked({});
        break;
      }
      if (now < reconnect_at_) return ArmLocked(reconnect_at_);
      return ConnectLocked();
    case State::kOpen:
    case State::kDraining:
      if (now - last_received_ >= dead_after_) {
        cancel_cause_ =
            Error{.kind = ErrorKind::kTimedOut, .message = "nothing came from the broker"};
        return stream_->Cancel();
      }
      PumpLocked();
      return ArmLocked(now + std::min(heartbeat_ / 2, dead_after_ / 4));
    case State::kNew:
    case State::kClosed:
      return;
  }
}

}  // namespace spillway::client::internal
