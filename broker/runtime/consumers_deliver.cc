// Delivering: who gets how much of what, and what they are told of the rest.
#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/base/registry.gen.h"
#include "broker/runtime/consumers.h"
#include "broker/runtime/lane_actor.h"

namespace spillway::runtime {
namespace {

constexpr Credit kMostPerFrame{registry::limit::kMaxBatchRecords, registry::limit::kMaxBatchBytes};
}  // namespace

void ConsumerSet::Flush() {
  const Now& now = lane_->env().now;
  const auto rules = retry_rules();
  for (const auto& [name, group] : lane_->core().groups()) {
    if (group->next_deadline() > now.mono) continue;
    std::vector<std::pair<queue::MemberId, OffsetRange>> revoked;
    group->Tick(now, rules, &revoked);
    TellRevoked(revoked, pb::REVOKE_REASON_DEADLINE);
  }
  Sweep();
  const size_t n = streams_.size();
  if (n > 0) ++turn_;
  present_.clear();
  for (const auto& stream : streams_) {
    if (stream->group != nullptr) ++present_[stream->group];
  }
  for (size_t i = 0; i < n; ++i) {
    ConsumerStream& stream = *streams_[(turn_ + i) % n];
    if (stream.sink == nullptr || !stream.announced || stream.failed || stream.closing) continue;
    // What would be delivered now would hardly be settled in time.
    if (lane_->draining()) continue;
    uint64_t share = std::numeric_limits<uint64_t>::max();
    if (stream.group != nullptr) {
      // When there is little, everybody gets some of it.
      const uint64_t present = present_[stream.group];
      const uint64_t next = std::max(stream.group->next(), lane_->core().head());
      const uint64_t end = lane_->core().visible_end();
      const uint64_t left = stream.group->ready_messages() + (end > next ? end - next : 0);
      if (present > 1) share = std::max<uint64_t>(1, (left + present - 1) / present);
    }
    while (DeliverTo(stream, share)) {
    }
  }
  for (const auto& stream : streams_) {
    if (stream->sink == nullptr || !stream->announced || stream->failed) continue;
    if (stream->closing || stream->ended) {
      Leave(*stream);
      std::exchange(stream->sink, nullptr)->OnFinished();
    }
  }
  Sweep();
}

void ConsumerSet::Observe(const wire::Delivery& delivery, const Now& now) {
  for (const auto& run : delivery.runs) {
    if (run.attempt != 1) continue;
    const UnixMillis arrived = lane_->core().appended_at(run.first);
    const UnixMillis age_ms = now.unix_ms > arrived ? now.unix_ms - arrived : 0;
    delivery_seconds_.Add(static_cast<double>(age_ms) / 1e3, run.count);
  }
}

bool ConsumerSet::DeliverTo(ConsumerStream& stream, uint64_t share) {
  if (stream.ended || stream.sink == nullptr) return false;
  const Now& now = lane_->env().now;
  if (!stream.sink->CanDeliver()) {
    stream.SetStall(pb::STALL_REASON_SLOW_READER, now.mono);
    return false;
  }
  queue::Lane& core = lane_->core();
  wire::Delivery delivery;
  queue::DiskRead read;
  std::vector<OffsetRange> gap;
  Credit max = kMostPerFrame;
  max.messages = std::min(max.messages, share);
  queue::Outcome outcome;
  Credit room;
  if (stream.is_reader()) {
    room = stream.account.limit() - stream.account.delivered();
    if (stream.rate_per_second > 0) {
      const double rate = static_cast<double>(stream.rate_per_second);
      const double passed = static_cast<double>(now.mono - stream.tokens_at) / 1e9;
      stream.tokens = std::min(std::max(1.0, rate / 10), stream.tokens + passed * rate);
      stream.tokens_at = now.mono;
      const auto allowed = static_cast<uint64_t>(stream.tokens);
      if (allowed == 0 && stream.reader->next < core.visible_end()) {
        stream.SetStall(pb::STALL_REASON_RATE_LIMIT, now.mono);
        return false;
      }
      max.messages = std::min(max.messages, std::max<uint64_t>(allowed, 1));
    }
    outcome = core.Read(*stream.reader, room, max, &delivery, &read, &gap);
  } else {
    if (stream.group == nullptr) return false;
    const Credit in_flight = stream.group->InFlightOf(stream.member);
    room = stream.account.Room(in_flight);
    const auto deadline = static_cast<MonoNanos>(core.tuning().ack_deadline_ms) * kNanosPerMilli;
    outcome = core.Deliver(*stream.group, stream.member, room, max, now, deadline, &delivery, &read,
                           &gap);
    if (outcome == queue::Outcome::kNoRoom && in_flight == Credit{}) {
      // A record larger than the clamp goes alone.
      outcome = core.Deliver(*stream.group, stream.member, stream.account.RoomForOne(in_flight),
                             max, now, deadline, &delivery, &read, &gap);
      room = stream.account.left();
    }
  }
  if (read.fetch != nullptr) lane_->StartRead(read);
  switch (outcome) {
    case queue::Outcome::kDelivered:
      stream.account.Deliver(delivery.cost);
      stream.tokens -= static_cast<double>(delivery.cost.messages);
      totals_.delivered += delivery.cost;
      if (!stream.is_reader()) Observe(delivery, now);
      stream.SetStall(pb::STALL_REASON_UNSPECIFIED, now.mono);
      stream.sink->OnDelivery(std::move(delivery));
      return stream.sink != nullptr && stream.sink->CanDeliver();
    case queue::Outcome::kGap:
      stream.sink->OnGap(gap, lane_->GapReasonFor(gap.front()));
      return true;
    case queue::Outcome::kStopped:
      stream.ended = true;
      stream.sink->OnEnd(pb::END_REASON_STOP, stream.reader->next);
      return false;
    case queue::Outcome::kNoRoom: {
      pb::StallReason reason = pb::STALL_REASON_NO_CREDIT;
      const Credit own = stream.account.left();
      if (own.messages > room.messages || own.bytes > room.bytes) {
        reason = pb::STALL_REASON_IN_FLIGHT_CLAMP;
      } else if (room.messages > 0 && room.bytes > 0) {
        reason = pb::STALL_REASON_RECORD_LARGER_THAN_CREDIT;
      }
      stream.SetStall(reason, now.mono);
      return false;
    }
    case queue::Outcome::kReadDisk:
      stream.SetStall(pb::STALL_REASON_READING_DISK, now.mono);
      return false;
    case queue::Outcome::kEmpty: {
      pb::StallReason reason = pb::STALL_REASON_EMPTY;
      if (stream.group != nullptr && stream.group->delayed_messages() > 0) {
        reason = pb::STALL_REASON_RETRY_DELAY;
      } else if (stream.group != nullptr && !stream.group->parked().empty()) {
        reason = pb::STALL_REASON_PARKED;
      }
      stream.SetStall(reason, now.mono);
      return false;
    }
    case queue::Outcome::kMissing:
      Fail(stream, {.kind = ErrorKind::kCorrupt,
                    .message = "a record that should be kept is not in the log"});
      return false;
  }
  return false;
}

void ConsumerSet::TellRevoked(const std::vector<std::pair<queue::MemberId, OffsetRange>>& revoked,
                              pb::RevokeReason reason) {
  std::unordered_map<queue::MemberId, std::vector<OffsetRange>> by_member;
  for (const auto& [member, range] : revoked) by_member[member].push_back(range);
  for (const auto& [member, ranges] : by_member) {
    auto it = by_member_.find(member);
    if (it == by_member_.end() || it->second->sink == nullptr || !it->second->announced) continue;
    it->second->sink->OnRevoke(ranges, reason);
  }
}

void ConsumerSet::TellGaps(const std::vector<queue::GroupGap>& gaps, pb::GapReason reason) {
  for (const auto& gap : gaps) {
    for (const auto& stream : streams_) {
      if (stream->group != gap.group || stream->sink == nullptr || !stream->announced) continue;
      stream->sink->OnGap(gap.ranges, reason);
    }
  }
}

}  // namespace spillway::runtime
