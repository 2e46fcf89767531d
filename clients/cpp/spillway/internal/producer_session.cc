#include "clients/cpp/spillway/internal/producer_session.h"

#include <algorithm>
#include <utility>

#include "clients/cpp/spillway/internal/error_proto.h"

namespace spillway::client::internal {
namespace {

constexpr char kMethod[] = "/spillway.v1.Broker/Publish";

Credit FromProtoCredit(const v1::Credit& credit) { return {credit.messages(), credit.bytes()}; }

void SetCredit(const Credit& credit, v1::Credit* out) {
  out->set_messages(credit.messages);
  out->set_bytes(credit.bytes);
}

}  // namespace

ProducerSession::ProducerSession(std::shared_ptr<Core> core, ProducerOptions options)
    : Session(std::move(core), kMethod),
      options_(std::move(options)),
      producer_id_(options_.producer_id.empty() ? "cpp-" + core_->RandomId()
                                                : options_.producer_id) {
  log_.SetFrameLimits(options_.batch_bytes, options_.batch_records);
}

std::optional<Error> ProducerSession::RefusalLocked() const {
  if (state_ == State::kClosed || closing_) {
    return error_.value_or(Error{
        .kind = ErrorKind::kClosed, .message = "the producer is closed", .queue = options_.queue});
  }
  if (last_grant_.reason() == v1::CREDIT_REASON_FULL_REJECT && OpenLocked()) {
    return Error{.kind = ErrorKind::kQueueFull,
                 .message = "the queue " + options_.queue +
                            " is full and refuses; it takes records again once consumers settle",
                 .queue = options_.queue,
                 .limit = last_grant_.window_bytes(),
                 .actual = last_grant_.window_used_bytes()};
  }
  return std::nullopt;
}

template <typename AdmitFn>
Status ProducerSession::Admit(std::unique_lock<std::mutex>* lock, Waiter* waiter, Timeout timeout,
                              AdmitFn admit) {
  const bool bounded = timeout != kForever;
  const Clock::time_point deadline = bounded ? Clock::now() + timeout : Clock::time_point::max();
  bool in_line = false;
  Status status = Ok();
  for (;;) {
    if (state_ == State::kClosed || closing_) {
      status = *RefusalLocked();
      break;
    }
    const bool my_turn = waiters_.empty() || waiters_.front() == waiter;
    if (my_turn && OpenLocked() && admit()) break;
    if (const std::optional<Error> refusal = RefusalLocked()) {
      status = *refusal;
      break;
    }
    if (!in_line) {
      if (waiters_.empty()) waiting_since_ = Clock::now();
      waiters_.push_back(waiter);
      in_line = true;
    }
    PumpLocked();  // states the demand
    if (!bounded) {
      waiter->ready.wait(*lock);
    } else if (waiter->ready.wait_until(*lock, deadline) == std::cv_status::timeout) {
      const CreditReason reason = static_cast<CreditReason>(last_grant_.reason());
      std::string why = "no credit in time";
      if (reason != CreditReason::kNone) {
        why +=
            ": " + std::string(Name(reason)) + ", which ends when " + std::string(EndsWhen(reason));
      }
      status = Error{.kind = ErrorKind::kTimedOut, .message = why, .queue = options_.queue};
      break;
    }
  }
  if (in_line) {
    waiters_.erase(std::find(waiters_.begin(), waiters_.end(), waiter));
    WakeLocked();
  }
  PumpLocked();
  return status;
}

void ProducerSession::WakeLocked() {
  if (!waiters_.empty()) waiters_.front()->ready.notify_one();
}

void ProducerSession::AppendedLocked() {
  if (options_.linger.count() == 0 || lingering_) return;
  lingering_ = true;
  core_->loop().At(Clock::now() + options_.linger, [weak = weak_from_this()] {
    const auto self = std::static_pointer_cast<ProducerSession>(weak.lock());
    if (self == nullptr) return;
    const std::lock_guard lock(self->mu_);
    self->lingering_ = false;
    self->PumpLocked();
  });
}

Status ProducerSession::Publish(const Message& message, PublishCallback done, Timeout timeout) {
  std::unique_lock lock(mu_);
  Waiter waiter;
  waiter.cost = {1, EncodedBytes(message)};
  waiter.first_record_bytes = waiter.cost.bytes;
  return Admit(&lock, &waiter, timeout, [&] {
    if (!log_.Fits(waiter.cost)) return false;
    log_.Append(message, std::move(done));
    AppendedLocked();
    return true;
  });
}

Result<bool> ProducerSession::TryPublish(const Message& message, PublishCallback done) {
  const std::lock_guard lock(mu_);
  const Credit cost{1, EncodedBytes(message)};
  if (state_ != State::kClosed && !closing_ && waiters_.empty() && OpenLocked() &&
      log_.Fits(cost)) {
    log_.Append(message, std::move(done));
    AppendedLocked();
    PumpLocked();
    return true;
  }
  if (const std::optional<Error> refusal = RefusalLocked()) return *refusal;
  return false;
}

Status ProducerSession::PublishBatch(const EncodedBatch& batch, BatchCallback done,
                                     Timeout timeout) {
  std::unique_lock lock(mu_);
  const auto shared = std::make_shared<BatchCallback>(std::move(done));
  uint32_t first = 0;
  Waiter waiter;
  while (first < batch.size()) {
    waiter.cost = PublishLog::Cost(batch, first, batch.size() - first);
    waiter.first_record_bytes = PublishLog::Cost(batch, first, 1).bytes;
    Status status = Admit(&lock, &waiter, timeout, [&] {
      uint32_t n = batch.size() - first;
      if (!log_.Fits(waiter.cost)) {
        // In pieces only when nothing is on its way that would bring credit.
        n = log_.idle() ? log_.FitCount(batch, first) : 0;
      }
      if (n == 0) return false;
      log_.Append(batch, first, n, shared);
      first += n;
      return true;
    });
    if (!status.ok()) return status;
  }
  return Ok();
}

Status ProducerSession::Flush(Timeout timeout) {
  std::unique_lock lock(mu_);
  lingering_ = false;
  PumpLocked();
  const auto done = [this] {
    return (log_.unanswered() == 0 && answers_.empty() && !announcing_) || state_ == State::kClosed;
  };
  if (timeout == kForever) {
    changed_.wait(lock, done);
  } else if (!changed_.wait_for(lock, timeout, done)) {
    return Error{.kind = ErrorKind::kTimedOut, .message = "not all confirmed in time"};
  }
  return error_ ? Status(*error_) : Ok();
}

Credit ProducerSession::credit() const {
  const std::lock_guard lock(mu_);
  return OpenLocked() && waiters_.empty() ? log_.available() : Credit{};
}

std::optional<Blocked> ProducerSession::blocked() const {
  const std::lock_guard lock(mu_);
  if (waiters_.empty()) return std::nullopt;
  const auto ms = [](Clock::duration d) { return std::chrono::duration_cast<milliseconds>(d); };
  const Clock::time_point now = Clock::now();
  Blocked blocked{.reason = static_cast<CreditReason>(last_grant_.reason()),
                  .waiting = ms(now - waiting_since_),
                  .window_used_bytes = last_grant_.window_used_bytes(),
                  .window_bytes = last_grant_.window_bytes(),
                  .connected = OpenLocked()};
  if (blocked.reason != CreditReason::kNone) {
    blocked.reason_age = milliseconds(last_grant_.reason_age_ms()) + ms(now - last_grant_at_);
  }
  return blocked;
}

uint64_t ProducerSession::unconfirmed() const {
  const std::lock_guard lock(mu_);
  return log_.unanswered();
}

std::string ProducerSession::producer_id() const {
  const std::lock_guard lock(mu_);
  return producer_id_;
}

uint64_t ProducerSession::epoch() const {
  const std::lock_guard lock(mu_);
  return log_.epoch();
}

Credit ProducerSession::sent() const {
  const std::lock_guard lock(mu_);
  return log_.sent();
}

grpc::ByteBuffer ProducerSession::OpenFrameLocked() {
  v1::PublishRequest request;
  v1::PublishOpen* open = request.mutable_open();
  open->set_protocol(registry::limit::kProtocolVersion);
  open->set_queue(options_.queue);
  open->set_producer_id(producer_id_);
  open->set_client(core_->client_name());
  open->set_resume_sequence(log_.resume_sequence());
  return ToFrame(request);
}

Credit ProducerSession::WaitingLocked() const {
  Credit waiting;
  for (const Waiter* waiter : waiters_) waiting += waiter->cost;
  return waiting;
}

std::optional<grpc::ByteBuffer> ProducerSession::NextFrameLocked() {
  if (!lingering_ || !log_.only_open() || closing_) {
    if (std::optional<grpc::ByteBuffer> frame = log_.Next()) return frame;
  }
  const Credit waiting = WaitingLocked();
  const std::optional<PublishLog::Demand> demand =
      log_.NextDemand(waiting, waiters_.empty() ? 0 : waiters_.front()->first_record_bytes,
                      last_grant_.reason() == v1::CREDIT_REASON_FAIR_SHARE);
  if (!demand) return std::nullopt;
  v1::PublishRequest request;
  SetCredit(demand->waiting, request.mutable_demand()->mutable_waiting());
  request.mutable_demand()->set_next_record_bytes(demand->next_record_bytes);
  if (!demand->returned.zero())
    SetCredit(demand->returned, request.mutable_demand()->mutable_returned());
  return ToFrame(request);
}

grpc::ByteBuffer ProducerSession::PingFrameLocked(const v1::Ping& ping) {
  v1::PublishRequest request;
  *request.mutable_ping() = ping;
  return ToFrame(request);
}

grpc::ByteBuffer ProducerSession::PongFrameLocked(const v1::Pong& pong) {
  v1::PublishRequest request;
  *request.mutable_pong() = pong;
  return ToFrame(request);
}

grpc::ByteBuffer ProducerSession::CloseFrameLocked() {
  v1::PublishRequest request;
  request.mutable_close();
  return ToFrame(request);
}

void ProducerSession::CountersLocked(v1::Ping* ping) const {
  ping->set_epoch(log_.epoch());
  SetCredit(log_.sent(), ping->mutable_sent());
  SetCredit(log_.limit(), ping->mutable_limit_seen());
}

Status ProducerSession::ReceiveLocked(std::string_view bytes, grpc::Slice /*frame*/) {
  if (!response_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error{.kind = ErrorKind::kProtocol, .message = "the broker sent an unreadable frame"};
  }
  switch (response_.frame_case()) {
    case v1::PublishResponse::kOpened:
      return OpenedFrameLocked(response_.opened());
    case v1::PublishResponse::kConfirm:
      ConfirmedLocked(response_.confirm());
      return response_.confirm().has_grant() ? GrantedLocked(response_.confirm().grant()) : Ok();
    case v1::PublishResponse::kGrant:
      return GrantedLocked(response_.grant());
    case v1::PublishResponse::kRefuse:
      log_.Refuse(response_.refuse().first_sequence(), response_.refuse().count(),
                  FromProto(response_.refuse().error()), &answers_);
      return Ok();
    case v1::PublishResponse::kDrain:
      DrainLocked(response_.drain().deadline_ms(), response_.drain().reconnect_after_ms());
      return Ok();
    case v1::PublishResponse::kPing:
      return PingedLocked(response_.ping(), log_.epoch(), {}, {});
    case v1::PublishResponse::kPong:
      return PongedLocked(response_.pong(), log_.epoch());
    default:  // tuning, and frames of a later version
      return Ok();
  }
}

Status ProducerSession::OpenedFrameLocked(const v1::PublishOpened& opened) {
  Status status = log_.Opened(opened.epoch(), opened.next_sequence());
  if (!status.ok()) return status;
  if (!opened.producer_id().empty()) producer_id_ = opened.producer_id();
  const uint64_t bytes = opened.max_batch_bytes();
  const uint32_t records = opened.max_batch_records();
  log_.SetFrameLimits(
      bytes == 0 ? options_.batch_bytes : std::min(bytes, options_.batch_bytes),
      records == 0 ? options_.batch_records : std::min(records, options_.batch_records));
  last_grant_.Clear();
  OpenedLocked(opened.session(), opened.heartbeat_ms(), opened.dead_after_ms());
  WakeLocked();
  return Ok();
}

Status ProducerSession::GrantedLocked(const v1::Grant& grant) {
  // An earlier epoch's grant that comes late grants nothing.
  if (grant.epoch() != log_.epoch()) return Ok();
  if (!log_.Grant(FromProtoCredit(grant.limit()))) {
    return Error{.kind = ErrorKind::kCreditRegressed,
                 .message = "the broker lowered its grant within an epoch",
                 .queue = options_.queue,
                 .limit = log_.limit().bytes,
                 .actual = grant.limit().bytes()};
  }
  last_grant_ = grant;
  last_grant_at_ = Clock::now();
  if (grant.reason() == v1::CREDIT_REASON_FULL_REJECT) {
    // Each finds out by itself.
    for (Waiter* waiter : waiters_) waiter->ready.notify_one();
  } else {
    WakeLocked();
  }
  return Ok();
}

void ProducerSession::ConfirmedLocked(const v1::Confirm& confirm) {
  for (const v1::Confirm::Run& run : confirm.runs()) {
    log_.Confirm(run.first_sequence(), run.count(),
                 {.offset = run.first_offset(),
                  .durability = static_cast<Durability>(confirm.durability()),
                  .duplicate = run.duplicate(),
                  .offset_unknown = run.offset_unknown()},
                 &answers_);
  }
  core_->Succeeded();
  if (log_.idle()) WakeLocked();  // a batch may go in pieces now
}

void ProducerSession::BrokenLocked() { log_.Broken(); }

void ProducerSession::FailedLocked(const Error& error) {
  log_.FailAll(error, &answers_);
  for (Waiter* waiter : waiters_) waiter->ready.notify_one();
}

void ProducerSession::Announce(std::unique_lock<std::mutex>* lock) {
  // On the loop's thread only, so answers are called in their order.
  while (!answers_.empty()) {
    announcing_ = true;
    std::vector<Answer> answers;
    answers.swap(answers_);
    lock->unlock();
    for (const Answer& answer : answers) answer.Call();
    answers.clear();  // destroys the callbacks without the lock
    lock->lock();
    announcing_ = false;
  }
  if (log_.unanswered() == 0) changed_.notify_all();
}

}  // namespace spillway::client::internal

namespace spillway::client {

std::string_view Name(Durability durability) {
  switch (durability) {
    case Durability::kMemory:
      return "MEMORY";
    case Durability::kPersisted:
      return "PERSISTED";
    case Durability::kSynced:
      return "SYNCED";
    case Durability::kUnspecified:
      break;
  }
  return "UNSPECIFIED";
}

}  // namespace spillway::client
