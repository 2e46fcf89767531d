#include "broker/runtime/consumers.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/base/ids.h"
#include "broker/base/registry.gen.h"
#include "broker/failure/backoff.h"
#include "broker/runtime/explain.h"
#include "broker/runtime/lane_actor.h"

namespace spillway::runtime {
namespace {

Credit Clamp(const queue::Tuning& tuning) {
  return {tuning.max_in_flight_messages, tuning.max_in_flight_bytes};
}

}  // namespace

ConsumerSet::~ConsumerSet() {
  for (const auto& stream : streams_) stream->lane = nullptr;
}

queue::RetryRules ConsumerSet::retry_rules() const {
  const queue::Tuning& tuning = lane_->core().tuning();
  Random* random = lane_->env().random;
  return {.max_attempts = tuning.max_attempts,
          .ack_deadline = static_cast<MonoNanos>(tuning.ack_deadline_ms) * kNanosPerMilli,
          .backoff = [initial = tuning.backoff_initial_ms, max = tuning.backoff_max_ms,
                      random](uint32_t attempt) {
            return failure::RedeliveryDelay(attempt, initial, max, random->Unit());
          }};
}

// ---- Opening -----------------------------------------------------------------

void ConsumerSet::Open(const std::shared_ptr<ConsumerStream>& stream,
                       const pb::ConsumeOpen& request) {
  stream->epoch = (lane_->log_epoch() << 24) + ++opened_;
  stream->queue = lane_->name();
  stream->lane = lane_;
  stream->account.set_clamp(Clamp(lane_->core().tuning()));
  streams_.push_back(stream);
  if (request.partition() != 0) {
    return Fail(*stream, InvalidArgument("open.partition", "the queue has one partition, 0"));
  }
  const Credit limit{request.limit().messages(), request.limit().bytes()};
  (void)stream->account.SetLimit(limit);
  switch (request.target_case()) {
    case pb::ConsumeOpen::kGroup:
      return OpenGroup(stream, request);
    case pb::ConsumeOpen::kReader:
      return OpenReader(stream, request.reader());
    default:
      return Fail(*stream, InvalidArgument("open.target", "name a group or a reader"));
  }
}

void ConsumerSet::OpenGroup(const std::shared_ptr<ConsumerStream>& stream,
                            const pb::ConsumeOpen& request) {
  const pb::GroupTarget& target = request.group();
  stream->group_name = target.group();
  if (!IsValidName(target.group())) {
    return Fail(*stream,
                InvalidArgument("open.group.group",
                                "a group's name is [A-Za-z0-9._-]{1,255}, no leading dot"));
  }
  if (!pb::GroupMode_IsValid(target.mode())) {
    return Fail(*stream, InvalidArgument("open.group.mode", "unknown mode"));
  }
  if (static_cast<uint64_t>(target.held_size()) > registry::limit::kMaxHeldRanges) {
    return Fail(*stream, TooLarge("open.group.held", "too many held ranges",
                                  registry::limit::kMaxHeldRanges, target.held_size()));
  }
  if (queue::Group* group = lane_->core().FindGroup(target.group())) {
    return JoinGroup(stream, target, group);
  }
  lane_->ResolveStart(target.start(), "open.group.start",
                      [this, stream, target, alive = lane_->alive()](Result<Offset> start) {
                        if (!*alive || stream->sink == nullptr || stream->failed) return;
                        if (!start) return Fail(*stream, start.error());
                        lane_->CreateGroup(
                            target.group(), target.mode(), *start,
                            [this, stream, target, alive](Result<queue::Group*> group) {
                              if (!*alive || stream->sink == nullptr || stream->failed) return;
                              if (!group) return Fail(*stream, group.error());
                              JoinGroup(stream, target, *group);
                            });
                      });
}

void ConsumerSet::JoinGroup(const std::shared_ptr<ConsumerStream>& stream,
                            const pb::GroupTarget& target, queue::Group* group) {
  const size_t present = members(group);
  if (target.mode() != pb::GROUP_MODE_UNSPECIFIED &&
      static_cast<int>(target.mode()) != static_cast<int>(group->mode())) {
    if (present > 0) {
      return Fail(*stream,
                  InvalidArgument("open.group.mode", absl::StrCat("group ", group->name(),
                                                                  " has members in another mode")));
    }
    group->set_mode(static_cast<queue::GroupMode>(target.mode()));
    lane_->SaveGroup(group);
  }
  if (group->mode() == queue::GroupMode::kExclusive && present > 0) {
    return Fail(*stream,
                {.kind = ErrorKind::kExclusive,
                 .message = absl::StrCat("group ", group->name(), " is exclusive and has a member"),
                 .field = "open.group.group",
                 .retry_after_ms = 1'000});
  }
  stream->group = group;
  stream->member = next_member_++;
  by_member_[stream->member] = stream.get();
  auto members = std::find_if(members_.begin(), members_.end(),
                              [&](const GroupMembers& m) { return m.group == group; });
  if (members == members_.end()) {
    members = members_.emplace(members_.end());
    members->group = group;
  }
  members->streams.push_back(stream.get());
  std::vector<OffsetRange> lost;
  const MonoNanos deadline = lane_->env().now.mono + retry_rules().ack_deadline;
  for (const pb::OffsetRange& held : target.held()) {
    const OffsetRange range{held.first_offset(), held.count()};
    if (range.count == 0 || range.end() < range.first) {
      return Fail(*stream, InvalidArgument("open.group.held", "an empty or overflowing range"));
    }
    for (const auto& part :
         group->Reclaim(range, stream->member, lane_->core().visible_end(), deadline)) {
      lost.push_back(part);
    }
  }
  Announce(stream, group->cursor());
  if (!lost.empty()) {
    lane_->env().inbox->Push([stream, lost] {
      if (stream->sink != nullptr) stream->sink->OnRevoke(lost, pb::REVOKE_REASON_STALE);
    });
  }
}

void ConsumerSet::OpenReader(const std::shared_ptr<ConsumerStream>& stream,
                             const pb::ReaderTarget& target) {
  stream->reader = std::make_unique<queue::Reader>();
  readers_.push_back(stream.get());
  stream->rate_per_second = target.rate_messages_per_second();
  stream->tokens_at = lane_->env().now.mono;
  stream->tokens = 1;
  const queue::Lane& core = lane_->core();
  switch (target.stop().position_case()) {
    case pb::Stop::kOffset:
      stream->reader->stop = target.stop().offset();
      break;
    case pb::Stop::kTimeUnixMs:
      stream->reader->stop_time = target.stop().time_unix_ms();
      break;
    case pb::Stop::kTail:
      stream->reader->stop = core.tail();
      break;
    case pb::Stop::POSITION_NOT_SET:
      if (target.has_stop()) {
        return Fail(*stream, InvalidArgument("open.reader.stop", "name a position"));
      }
      break;
  }
  lane_->ResolveStart(target.start(), "open.reader.start",
                      [this, stream, alive = lane_->alive()](Result<Offset> start) {
                        if (!*alive || stream->sink == nullptr || stream->failed) return;
                        if (!start) return Fail(*stream, start.error());
                        stream->reader->next = *start;
                        Announce(stream, *start);
                      });
}

void ConsumerSet::Announce(const std::shared_ptr<ConsumerStream>& stream, Offset start) {
  ConsumerOpened opened;
  opened.epoch = stream->epoch;
  opened.session = stream->id;
  opened.revision = lane_->revision();
  opened.tuning = lane_->core().tuning();
  opened.start = start;
  opened.head = lane_->core().head();
  opened.tail = lane_->core().visible_end();
  if (stream->group != nullptr) opened.mode = stream->group->mode();
  opened.max_in_flight = stream->account.clamp();
  lane_->env().inbox->Push([stream, opened] {
    if (stream->sink == nullptr || stream->failed) return;
    stream->announced = true;
    stream->sink->OnOpened(opened);
    if (stream->lane != nullptr) stream->lane->MarkDirty();
  });
}

void ConsumerSet::Fail(ConsumerStream& stream, Error error) {
  if (stream.failed) return;
  if (error.queue.empty()) error.queue = lane_->name();
  stream.failed = std::move(error);
  leaving_ = true;
  lane_->MarkDirty();
}

// ---- What consumers say --------------------------------------------------------

void ConsumerSet::Settle(ConsumerStream& stream, const SettleIn& settle) {
  if (stream.failed) return;
  lane_->MarkDirty();
  if (stream.is_reader()) {
    return Fail(stream, {.kind = ErrorKind::kProtocol,
                         .message = "a reader has nothing to settle",
                         .field = "settle"});
  }
  if (stream.group == nullptr) return;
  queue::SettleAction action = queue::SettleAction::kAck;
  switch (settle.action) {
    case pb::SETTLE_ACTION_ACK:
      break;
    case pb::SETTLE_ACTION_RETRY:
      action = queue::SettleAction::kRetry;
      break;
    case pb::SETTLE_ACTION_PARK:
      action = queue::SettleAction::kPark;
      break;
    case pb::SETTLE_ACTION_SKIP:
      action = queue::SettleAction::kSkip;
      break;
    default:
      return Fail(stream, InvalidArgument("settle.action", "name an action"));
  }
  const auto delay = static_cast<MonoNanos>(
      std::min(settle.delay_ms, registry::tuning::kBackoffMaxMs.max) * kNanosPerMilli);
  const auto rules = retry_rules();
  std::vector<OffsetRange> stale;
  for (const OffsetRange& range : settle.ranges) {
    for (const auto& part : stream.group->Settle(range, stream.member, action, delay, settle.reason,
                                                 lane_->env().now, rules)) {
      stale.push_back(part);
    }
  }
  if (stale.empty()) return;
  // Answered in the batch, never from within the call.
  for (const auto& shared : streams_) {
    if (shared.get() != &stream) continue;
    lane_->env().inbox->Push([shared, stale] {
      if (shared->sink != nullptr) shared->sink->OnRevoke(stale, pb::REVOKE_REASON_STALE);
    });
  }
}

void ConsumerSet::Grant(ConsumerStream& stream, uint64_t epoch, const Credit& limit) {
  if (stream.failed) return;
  lane_->MarkDirty();
  if (epoch != stream.epoch) {
    return Fail(stream, {.kind = ErrorKind::kFenced,
                         .message = "the grant names another epoch than the stream's",
                         .field = "grant.epoch",
                         .limit = stream.epoch,
                         .actual = epoch});
  }
  if (stream.account.SetLimit(limit) == credit::ConsumerAccount::Verdict::kRegressed) {
    const Credit& had = stream.account.limit();
    const bool messages = limit.messages < had.messages;
    return Fail(stream, {.kind = ErrorKind::kCreditRegressed,
                         .message = "a limit must not fall within an epoch",
                         .field = messages ? "grant.limit.messages" : "grant.limit.bytes",
                         .limit = messages ? had.messages : had.bytes,
                         .actual = messages ? limit.messages : limit.bytes});
  }
}

void ConsumerSet::Extend(ConsumerStream& stream, std::span<const OffsetRange> ranges) {
  if (stream.failed || stream.group == nullptr) return;
  const MonoNanos deadline = lane_->env().now.mono + retry_rules().ack_deadline;
  std::vector<std::pair<queue::MemberId, OffsetRange>> stale;
  for (const OffsetRange& range : ranges) {
    for (const auto& part : stream.group->Extend(range, stream.member, deadline)) {
      stale.emplace_back(stream.member, part);
    }
  }
  if (stale.empty()) return;
  lane_->env().inbox->Push([this, stale, alive = lane_->alive()] {
    if (*alive) TellRevoked(stale, pb::REVOKE_REASON_STALE);
  });
}

void ConsumerSet::Close(ConsumerStream& stream) {
  stream.closing = true;
  leaving_ = true;
  lane_->MarkDirty();
}

void ConsumerSet::Detach(const std::shared_ptr<ConsumerStream>& stream) {
  stream->sink = nullptr;
  leaving_ = true;
  Leave(*stream);
  lane_->MarkDirty();
}

void ConsumerSet::Leave(ConsumerStream& stream) {
  if (stream.group != nullptr) {
    stream.group->Disconnect(stream.member);
    by_member_.erase(stream.member);
    stream.group = nullptr;
  }
  if (stream.reader != nullptr) lane_->ForgetFetch(&stream.reader->fetch);
}

void ConsumerSet::FailAll(const Error& error) {
  for (const auto& stream : streams_) Fail(*stream, error);
}

void ConsumerSet::FailGroup(const queue::Group* group, const Error& error) {
  for (const auto& stream : streams_) {
    if (stream->group != group) continue;
    by_member_.erase(stream->member);
    stream->group = nullptr;
    Fail(*stream, error);
  }
  std::erase_if(members_, [&](const GroupMembers& members) { return members.group == group; });
}

// ---- For all of them -------------------------------------------------------------

void ConsumerSet::Drain(const DrainOut& drain) {
  for (const auto& stream : streams_) {
    if (stream->sink != nullptr && stream->announced && !stream->failed) {
      stream->sink->OnDrain(drain);
    }
  }
}

void ConsumerSet::OnTuning() {
  for (const auto& stream : streams_) {
    stream->account.set_clamp(Clamp(lane_->core().tuning()));
    if (stream->sink != nullptr && stream->announced && !stream->failed) {
      stream->sink->OnTuning(lane_->revision(), lane_->core().tuning());
    }
  }
}

void ConsumerSet::Finish() {
  if (!leaving_) return;
  for (const auto& stream : streams_) {
    if (stream->sink == nullptr || !stream->announced || stream->failed) continue;
    if (stream->closing || stream->ended) {
      Leave(*stream);
      std::exchange(stream->sink, nullptr)->OnFinished();
    }
  }
}

void ConsumerSet::Sweep() {
  if (!leaving_) return;
  for (const auto& stream : streams_) {
    if (!stream->failed) continue;
    Leave(*stream);
    if (stream->sink != nullptr) std::exchange(stream->sink, nullptr)->OnClosed(*stream->failed);
  }
  for (GroupMembers& members : members_) {
    std::erase_if(members.streams, [](const ConsumerStream* s) { return s->group == nullptr; });
  }
  std::erase_if(members_, [](const GroupMembers& members) { return members.streams.empty(); });
  std::erase_if(readers_, [](const ConsumerStream* s) { return s->sink == nullptr; });
  std::erase_if(streams_, [](const std::shared_ptr<ConsumerStream>& stream) {
    if (stream->sink != nullptr) return false;
    stream->lane = nullptr;
    return true;
  });
  // Those that close before they were told that they are open.
  leaving_ = std::any_of(streams_.begin(), streams_.end(),
                         [](const auto& stream) { return stream->closing || stream->ended; });
}

MonoNanos ConsumerSet::next_deadline() const {
  MonoNanos at = std::numeric_limits<MonoNanos>::max();
  for (const auto& [name, group] : lane_->core().groups()) {
    at = std::min(at, group->next_deadline());
  }
  for (const ConsumerStream* stream : readers_) {
    if (stream->stall.reason != pb::STALL_REASON_RATE_LIMIT) continue;
    const double missing = std::max(0.0, 1.0 - stream->tokens);
    const double wait = missing / static_cast<double>(stream->rate_per_second) * 1e9;
    at = std::min(at, stream->tokens_at + static_cast<MonoNanos>(wait) + 1);
  }
  return at;
}

size_t ConsumerSet::members(const queue::Group* group) const {
  size_t count = 0;
  for (const auto& stream : streams_) count += stream->group == group ? 1 : 0;
  return count;
}

Stall ConsumerSet::StallOf(const ConsumerStream& stream) const {
  // It may be slow to take what was there for it.
  const bool slow = stream.stall.reason == pb::STALL_REASON_SLOW_READER && stream.sink != nullptr &&
                    !stream.sink->CanDeliver();
  if (slow || stream.group == nullptr) return stream.stall;
  for (const GroupMembers& members : members_) {
    if (members.group != stream.group) continue;
    if (members.stall.reason != pb::STALL_REASON_UNSPECIFIED) return members.stall;
  }
  return stream.stall;
}

bool ConsumerSet::settled() const {
  return std::all_of(by_member_.begin(), by_member_.end(), [](const auto& member) {
    const auto& [id, stream] = member;
    return stream->group == nullptr || stream->group->InFlightOf(id) == Credit{};
  });
}

size_t ConsumerSet::consumers() const { return by_member_.size(); }

size_t ConsumerSet::readers() const { return readers_.size(); }

// ---- ConsumerStream --------------------------------------------------------------

void ConsumerStream::CloseByOperator() {
  if (lane == nullptr) return;
  lane->consumers().Fail(
      *this,
      {.kind = ErrorKind::kClosed, .message = "an operator closed the session", .queue = queue});
}

std::string ConsumerStream::subject() const {
  return is_reader() ? absl::StrCat("reader ", id)
                     : absl::StrCat("consumer ", id, " of group ", group_name);
}

pb::Session ConsumerStream::Describe() const {
  pb::Session session =
      DescribeCommon(is_reader() ? pb::SESSION_KIND_READER : pb::SESSION_KIND_CONSUMER, group_name);
  SetCredit(account.limit(), session.mutable_granted());
  SetCredit(account.delivered(), session.mutable_used());
  if (group != nullptr) {
    const Credit held = group->InFlightOf(member);
    session.set_in_flight_messages(held.messages);
    session.set_in_flight_bytes(held.bytes);
  }
  return session;
}

void ConsumerStream::Explain(MonoNanos now, pb::ExplainResponse* out) const {
  const pb::Session session = Describe();
  auto& numbers = *out->mutable_numbers();
  numbers["granted_messages"] = session.granted().messages();
  numbers["granted_bytes"] = session.granted().bytes();
  numbers["delivered_messages"] = session.used().messages();
  numbers["delivered_bytes"] = session.used().bytes();
  numbers["in_flight_messages"] = session.in_flight_messages();
  numbers["in_flight_bytes"] = session.in_flight_bytes();
  numbers["max_in_flight_messages"] = account.clamp().messages;
  numbers["max_in_flight_bytes"] = account.clamp().bytes;
  const auto [why, since] = lane == nullptr ? stall : lane->consumers().StallOf(*this);
  if (why == pb::STALL_REASON_UNSPECIFIED) return;
  // Between two writes everybody is slow.
  constexpr MonoNanos kSlowFor = 250 * kNanosPerMilli;
  if (why == pb::STALL_REASON_SLOW_READER && now - since < kSlowFor) return;
  AddStall(subject(), why, now - since,
           {{"credit_left_messages", account.limit().messages - account.delivered().messages},
            {"credit_left_bytes", account.limit().bytes - account.delivered().bytes},
            {"in_flight_messages", session.in_flight_messages()}},
           out);
}

}  // namespace spillway::runtime
