#include "clients/cpp/spillway/internal/consumer_session.h"

#include <algorithm>
#include <utility>

#include "clients/cpp/spillway/internal/start.h"

namespace spillway::client::internal {
namespace {

constexpr char kMethod[] = "/spillway.v1.Broker/Consume";
// Ranges of one Settle frame, so that none grows without bound.
constexpr size_t kMaxRangesPerFrame = 1000;

void SetCredit(const Credit& credit, v1::Credit* out) {
  out->set_messages(credit.messages);
  out->set_bytes(credit.bytes);
}

void SetRange(const OffsetRange& range, v1::OffsetRange* out) {
  out->set_first_offset(range.first_offset);
  out->set_count(range.count);
}

std::vector<OffsetRange> FromProtoRanges(
    const google::protobuf::RepeatedPtrField<v1::OffsetRange>& ranges) {
  std::vector<OffsetRange> out;
  for (const v1::OffsetRange& range : ranges) out.push_back({range.first_offset(), range.count()});
  return out;
}

void SetGrant(uint64_t epoch, const Credit& limit, v1::Grant* out) {
  out->set_epoch(epoch);
  SetCredit(limit, out->mutable_limit());
}

ConsumerOptions Shared(const ReaderOptions& options) {
  ConsumerOptions shared;
  static_cast<ReceiveOptions&>(shared) = options;
  shared.start = options.start;
  return shared;
}

}  // namespace

void SetStart(const Start& start, v1::Start* out) {
  switch (start.kind) {
    case Start::Kind::kOffset:
      return out->set_offset(start.value);
    case Start::Kind::kTime:
      return out->set_time_unix_ms(start.value);
    case Start::Kind::kEarliest:
      return out->set_earliest(true);
    case Start::Kind::kLatest:
      return out->set_latest(true);
    case Start::Kind::kLast:
      return out->set_last(start.value);
    case Start::Kind::kDefault:
      return;
  }
}

grpc::ByteBuffer SettleFrame(const Settled& settled, uint64_t epoch,
                             const std::optional<Credit>& limit) {
  v1::ConsumeRequest request;
  v1::Settle* out = request.mutable_settle();
  out->set_action(static_cast<v1::SettleAction>(settled.action));
  out->set_delay_ms(settled.delay_ms);
  out->set_reason(settled.reason);
  for (const OffsetRange& range : settled.ranges) SetRange(range, out->add_ranges());
  if (limit) SetGrant(epoch, *limit, out->mutable_grant());
  return ToFrame(request);
}

ConsumerSession::ConsumerSession(std::shared_ptr<Core> core, ConsumerOptions options)
    : Session(std::move(core), kMethod),
      reader_(false),
      options_(std::move(options)),
      window_({options_.max_in_flight_messages, options_.max_in_flight_bytes},
              options_.max_messages) {}

ConsumerSession::ConsumerSession(std::shared_ptr<Core> core, const ReaderOptions& options)
    : Session(std::move(core), kMethod),
      reader_(true),
      options_(Shared(options)),
      stop_(options.stop),
      rate_(options.rate_messages_per_second),
      window_({options_.max_in_flight_messages, options_.max_in_flight_bytes},
              options_.max_messages) {}

Result<std::optional<DeliveryBatch>> ConsumerSession::Next(Timeout timeout) {
  std::unique_lock lock(mu_);
  const auto ready = [this] { return !ready_.empty() || ended_ || state_ == State::kClosed; };
  if (timeout == kForever) {
    changed_.wait(lock, ready);
  } else {
    changed_.wait_for(lock, timeout, ready);
  }
  if (!ready_.empty()) {
    DeliveryBatch batch = std::move(ready_.front());
    ready_.pop_front();
    return std::optional<DeliveryBatch>(std::move(batch));
  }
  if (!ended_ && state_ == State::kClosed) {
    return error_.value_or(Error{.kind = ErrorKind::kClosed, .message = "the consumer is closed"});
  }
  return std::optional<DeliveryBatch>();
}

void ConsumerSession::TakeLocked(const OffsetRange& range, std::optional<uint64_t> delivery,
                                 InFlight::Taken* taken) {
  in_flight_.Take(range, delivery, epoch_, taken);
}

void ConsumerSession::Settle(const std::vector<OffsetRange>& ranges,
                             std::optional<uint64_t> delivery, SettleAction action,
                             const SettleOptions& options) {
  const std::lock_guard lock(mu_);
  if (reader_ || state_ == State::kClosed) return;
  InFlight::Taken taken;
  for (const OffsetRange& range : ranges) TakeLocked(range, delivery, &taken);
  if (taken.ranges.empty()) return;
  window_.Released(taken.current);
  window_.HeldReleased(taken.held);
  const uint64_t delay = static_cast<uint64_t>(options.delay.count());
  const std::string_view reason = options.reason.substr(0, registry::limit::kMaxReasonBytes);
  if (settles_.empty() || settles_.back().action != action || settles_.back().delay_ms != delay ||
      settles_.back().reason != reason || settles_.back().ranges.size() >= kMaxRangesPerFrame) {
    settles_.push_back({action, delay, std::string(reason), {}});
  }
  for (const OffsetRange& range : taken.ranges) AppendRange(range, &settles_.back().ranges);
  PumpLocked();
}

void ConsumerSession::Extend(const std::vector<OffsetRange>& ranges,
                             std::optional<uint64_t> delivery) {
  const std::lock_guard lock(mu_);
  if (reader_) return;
  for (const OffsetRange& range : ranges) in_flight_.Find(range, delivery, &extends_);
  PumpLocked();
}

void ConsumerSession::Finished(uint64_t delivery, uint64_t epoch, const FrameIndex& index,
                               bool released) {
  if (reader_) {
    const std::lock_guard lock(mu_);
    if (epoch == epoch_) {
      window_.Released(index.cost);
    } else {
      window_.HeldReleased(index.cost);
    }
    PumpLocked();
    return;
  }
  if (released) return;
  std::vector<OffsetRange> all;
  all.reserve(index.runs.size());
  for (const FrameIndex::Run& run : index.runs) all.push_back({run.first_offset, run.count});
  Settle(all, delivery, SettleAction::kRetry, {});
}

void ConsumerSession::Discard() {
  Abandon();
  std::deque<DeliveryBatch> ready;  // each holds the session, and locks it when it goes
  std::deque<Event> events;
  const std::lock_guard lock(mu_);  // released before they are destroyed
  ready.swap(ready_);
  events.swap(events_);
}

bool ConsumerSession::ended() const {
  const std::lock_guard lock(mu_);
  return ended_;
}

uint64_t ConsumerSession::next_offset() const {
  const std::lock_guard lock(mu_);
  return next_offset_;
}

uint64_t ConsumerSession::start_offset() const {
  const std::lock_guard lock(mu_);
  return start_offset_;
}

uint64_t ConsumerSession::tail_offset() const {
  const std::lock_guard lock(mu_);
  return tail_offset_;
}

std::vector<OffsetRange> ConsumerSession::held() const {
  const std::lock_guard lock(mu_);
  return in_flight_.Ranges();
}

// What is in hand, what is settled and not sent, and of what is unanswered as much as
// the broker lets it state.
std::vector<OffsetRange> ConsumerSession::HeldLocked() {
  std::vector<OffsetRange> held = in_flight_.Ranges();
  for (const Settled& settle : settles_) {
    held.insert(held.end(), settle.ranges.begin(), settle.ranges.end());
  }
  Normalize(&held);
  constexpr size_t kMost = registry::limit::kMaxHeldRanges;
  unanswered_.Trim(kMost - std::min(kMost, held.size()));
  const std::vector<OffsetRange> unanswered = unanswered_.Ranges();
  held.insert(held.end(), unanswered.begin(), unanswered.end());
  Normalize(&held);
  return held;
}

grpc::ByteBuffer ConsumerSession::OpenFrameLocked() {
  v1::ConsumeRequest request;
  v1::ConsumeOpen* open = request.mutable_open();
  open->set_protocol(registry::limit::kProtocolVersion);
  open->set_queue(options_.queue);
  open->set_client(core_->client_name());
  Credit held = in_flight_.Cost();
  if (reader_) {
    v1::ReaderTarget* target = open->mutable_reader();
    SetStart(ever_opened_ ? Start::AtOffset(next_offset_) : options_.start,
             target->mutable_start());
    switch (stop_.kind) {
      case Stop::Kind::kOffset:
        target->mutable_stop()->set_offset(stop_.value);
        break;
      case Stop::Kind::kTime:
        target->mutable_stop()->set_time_unix_ms(stop_.value);
        break;
      case Stop::Kind::kTail:
        target->mutable_stop()->set_tail(true);
        break;
      case Stop::Kind::kNever:
        break;
    }
    target->set_rate_messages_per_second(rate_);
    // What the application has not finished with stays within the window.
    held = window_.unfinished();
  } else {
    v1::GroupTarget* target = open->mutable_group();
    target->set_group(options_.group);
    target->set_mode(static_cast<v1::GroupMode>(options_.mode));
    SetStart(options_.start, target->mutable_start());
    std::vector<OffsetRange> merged = HeldLocked();
    // The broker takes back what is beyond its bound.
    for (size_t i = registry::limit::kMaxHeldRanges; i < merged.size(); ++i) {
      InFlight::Taken dropped;
      TakeLocked(merged[i], std::nullopt, &dropped);
    }
    merged.resize(std::min<size_t>(merged.size(), registry::limit::kMaxHeldRanges));
    for (const OffsetRange& range : merged) SetRange(range, target->add_held());
    held = in_flight_.Cost();
  }
  SetCredit(window_.Open(held), open->mutable_limit());
  return ToFrame(request);
}

// What earlier streams may have lost, then what is new.
std::optional<Settled> ConsumerSession::NextSettleLocked() {
  std::optional<Settled> next = unanswered_.Next(kMaxRangesPerFrame);
  if (!next && !settles_.empty()) {
    next = std::move(settles_.front());
    settles_.pop_front();
  }
  return next;
}

std::optional<grpc::ByteBuffer> ConsumerSession::NextFrameLocked() {
  const bool may_grant = state_ == State::kOpen && !closing_;
  if (const std::optional<Settled> settle = NextSettleLocked()) {
    unanswered_.Add(*settle);
    return SettleFrame(*settle, epoch_, may_grant ? window_.Riding() : std::nullopt);
  }
  v1::ConsumeRequest request;
  if (!extends_.empty()) {
    for (const OffsetRange& range : extends_)
      SetRange(range, request.mutable_extend()->add_ranges());
    extends_.clear();
    return ToFrame(request);
  }
  if (may_grant && window_.Due()) {
    if (const std::optional<Credit> limit = window_.Riding()) {
      SetGrant(epoch_, *limit, request.mutable_grant());
      return ToFrame(request);
    }
  }
  return std::nullopt;
}

grpc::ByteBuffer ConsumerSession::PingFrameLocked(const v1::Ping& ping) {
  v1::ConsumeRequest request;
  *request.mutable_ping() = ping;
  return ToFrame(request);
}

grpc::ByteBuffer ConsumerSession::PongFrameLocked(const v1::Pong& pong) {
  v1::ConsumeRequest request;
  *request.mutable_pong() = pong;
  return ToFrame(request);
}

grpc::ByteBuffer ConsumerSession::CloseFrameLocked() {
  v1::ConsumeRequest request;
  request.mutable_close();
  return ToFrame(request);
}

bool ConsumerSession::IdleLocked() const {
  if (!settles_.empty() || (OpenLocked() && unanswered_.settles_again())) return false;
  // A drained group first finishes what it holds; the rest goes along as held.
  return closing_ || reader_ || in_flight_.empty();
}

void ConsumerSession::CountersLocked(v1::Ping* ping) const {
  ping->set_epoch(epoch_);
  ping->mutable_sent();
  ping->mutable_limit_seen();
}

Status ConsumerSession::ReceiveLocked(std::string_view bytes, grpc::Slice frame) {
  if (IsDelivery(bytes)) {
    auto index = std::make_shared<FrameIndex>();
    if (!ParseDelivery(bytes, index.get())) {
      return Error{.kind = ErrorKind::kProtocol, .message = "the broker sent a broken delivery"};
    }
    DeliveredLocked(std::move(index), std::move(frame));
    return Ok();
  }
  v1::ConsumeResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return Error{.kind = ErrorKind::kProtocol, .message = "the broker sent an unreadable frame"};
  }
  switch (response.frame_case()) {
    case v1::ConsumeResponse::kOpened:
      return OpenedFrameLocked(response.opened());
    case v1::ConsumeResponse::kRevoke:
      RevokedLocked(response.revoke());
      return Ok();
    case v1::ConsumeResponse::kGap:
      GapLocked(response.gap());
      return Ok();
    case v1::ConsumeResponse::kEnd:
      EndLocked(response.end().next_offset());
      return Ok();
    case v1::ConsumeResponse::kTuning:
      window_.AtLeast(response.tuning().tuning().max_message_bytes());
      return Ok();
    case v1::ConsumeResponse::kDrain:
      DrainLocked(response.drain().deadline_ms(), response.drain().reconnect_after_ms());
      return Ok();
    case v1::ConsumeResponse::kPing:
      return PingedLocked(response.ping(), epoch_, window_.received(), window_.granted());
    case v1::ConsumeResponse::kPong:
      return PongedLocked(response.pong(), epoch_);
    default:
      return Ok();
  }
}

Status ConsumerSession::OpenedFrameLocked(const v1::ConsumeOpened& opened) {
  epoch_ = opened.epoch();
  if (!ever_opened_) {
    start_offset_ = next_offset_ = opened.start_offset();
    // A stop at the tail means this tail, whatever reconnects.
    if (stop_.kind == Stop::Kind::kTail) stop_ = Stop::AtOffset(opened.tail_offset());
  }
  ever_opened_ = true;
  tail_offset_ = opened.tail_offset();
  window_.AtLeast(opened.tuning().max_message_bytes());
  OpenedLocked(opened.session(), opened.heartbeat_ms(), opened.dead_after_ms());
  return Ok();
}

void ConsumerSession::DeliveredLocked(std::shared_ptr<const FrameIndex> index, grpc::Slice frame) {
  window_.Received(index->cost);
  std::vector<OffsetRange> again;
  for (const FrameIndex::Run& run : index->runs) {
    if (unanswered_.may_have(run.first_offset)) again.push_back({run.first_offset, run.count});
  }
  if (!again.empty()) {
    // What became of the earlier delivery must not settle this one.
    Normalize(&again);
    unanswered_.Over(again);
  }
  const uint64_t id = ++last_delivery_;
  for (const FrameIndex::Run& run : index->runs) {
    if (!reader_) in_flight_.Add(id, epoch_, run, index);
    next_offset_ = std::max(next_offset_, run.first_offset + run.count);
  }
  DeliveryBatch batch;
  batch.session_ = std::static_pointer_cast<ConsumerSession>(shared_from_this());
  batch.index_ = std::move(index);
  batch.frame_ = std::move(frame);
  batch.id_ = id;
  batch.epoch_ = epoch_;
  if (options_.on_batch) {
    events_.push_back({.batch = std::move(batch)});
  } else {
    ready_.push_back(std::move(batch));
    changed_.notify_one();
  }
}

void ConsumerSession::RevokedLocked(const v1::Revoke& revoke) {
  std::vector<OffsetRange> ranges = FromProtoRanges(revoke.ranges());
  Normalize(&ranges);
  // That a settle had arrived before its stream broke is no news to anybody.
  ranges = unanswered_.Over(ranges);
  if (ranges.empty()) return;
  InFlight::Taken taken;
  for (const OffsetRange& range : ranges) TakeLocked(range, std::nullopt, &taken);
  window_.Released(taken.current);
  window_.HeldReleased(taken.held);
  window_.Refund(taken.current.messages + taken.held.messages);
  if (options_.on_revoke) {
    events_.push_back(
        {.ranges = std::move(ranges), .revoke = static_cast<RevokeReason>(revoke.reason())});
  }
}

void ConsumerSession::GapLocked(const v1::Gap& gap) {
  std::vector<OffsetRange> ranges = FromProtoRanges(gap.ranges());
  for (const OffsetRange& range : ranges) {
    if (reader_) next_offset_ = std::max(next_offset_, range.end());
  }
  if (options_.on_gap) {
    events_.push_back(
        {.ranges = std::move(ranges), .gap = static_cast<GapReason>(gap.reason()), .is_gap = true});
  }
}

void ConsumerSession::EndLocked(uint64_t next_offset) {
  ended_ = true;
  next_offset_ = next_offset;
  TerminateLocked({});
}

void ConsumerSession::BrokenLocked() {
  extends_.clear();
  unanswered_.Broke();
}

void ConsumerSession::FailedLocked(const Error& /*error*/) {
  settles_.clear();
  unanswered_.Clear();
  extends_.clear();
  in_flight_.Clear();
}

void ConsumerSession::Announce(std::unique_lock<std::mutex>* lock) {
  while (!events_.empty()) {
    Event event = std::move(events_.front());
    events_.pop_front();
    lock->unlock();
    if (!event.batch.empty()) {
      options_.on_batch(std::move(event.batch));
    } else if (event.is_gap) {
      options_.on_gap(event.ranges, event.gap);
    } else {
      options_.on_revoke(event.ranges, event.revoke);
    }
    lock->lock();
  }
}

}  // namespace spillway::client::internal
