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

bool Delivers(const ConsumerStream& stream) {
  return stream.sink != nullptr && stream.announced && !stream.failed && !stream.closing &&
         !stream.ended;
}

}  // namespace

uint64_t GroupMembers::Chunk(MonoNanos now) {
  const MonoNanos current = now / kPeriod;
  if (current != period) {
    in_last_period = current == period + 1 ? in_period : 0;
    in_period = 0;
    period = current;
  }
  return std::max<uint64_t>(1, std::max(in_period, in_last_period) / (kPeriod / kChunk));
}

void ConsumerSet::Tick() {
  const Now& now = lane_->env().now;
  for (const auto& [name, group] : lane_->core().groups()) {
    if (group->next_deadline() > now.mono) continue;
    std::vector<std::pair<queue::MemberId, OffsetRange>> revoked;
    group->Tick(now, retry_rules(), &revoked);
    TellRevoked(revoked, pb::REVOKE_REASON_DEADLINE);
  }
}

void ConsumerSet::Flush() {
  Tick();
  Sweep();
  // While it drains, what would be delivered now would hardly be settled in time.
  if (!lane_->draining()) {
    for (GroupMembers& members : members_) DeliverToGroup(members);
    for (ConsumerStream* reader : readers_) {
      uint64_t most = std::numeric_limits<uint64_t>::max();
      while (Delivers(*reader) && DeliverTo(*reader, &most) <= Step::kToldGap) {
      }
    }
  }
  Finish();
  Sweep();
}

void ConsumerSet::DeliverToGroup(GroupMembers& members) {
  queue::Lane& core = lane_->core();
  queue::Group& group = *members.group;
  const MonoNanos now = lane_->env().now.mono;
  const uint64_t chunk = members.Chunk(now);
  bool reading = false;
  // What some have no room for goes to those who have.
  size_t takers = members.streams.size();
  while (takers > 0 && core.HasFor(group)) {
    const Offset next = std::max(group.next(), core.head());
    const Offset end = core.visible_end();
    const uint64_t left = group.ready_messages() + (end > next ? end - next : 0);
    takers = DeliverRound(members, std::max(chunk, (left + takers - 1) / takers), &reading);
  }
  pb::StallReason reason = pb::STALL_REASON_UNSPECIFIED;
  if (reading) {
    reason = pb::STALL_REASON_READING_DISK;
  } else if (!core.HasFor(group)) {
    reason = group.delayed_messages() > 0 ? pb::STALL_REASON_RETRY_DELAY
             : !group.parked().empty()    ? pb::STALL_REASON_PARKED
                                          : pb::STALL_REASON_EMPTY;
  }
  members.stall.Set(reason, now);
}

size_t ConsumerSet::DeliverRound(GroupMembers& members, uint64_t share, bool* reading) {
  const queue::Lane& core = lane_->core();
  const size_t n = members.streams.size();
  size_t takers = 0;
  for (size_t i = 0; i < n && core.HasFor(*members.group); ++i) {
    ConsumerStream& stream = *members.streams[members.turn++ % n];
    uint64_t most = share;
    Step step = Step::kCannot;
    while (most > 0 && Delivers(stream) && core.HasFor(*members.group)) {
      step = DeliverTo(stream, &most);
      if (step > Step::kToldGap) break;
    }
    members.in_period += share - most;
    if (step == Step::kTook) ++takers;
    *reading = step == Step::kNothing && core.HasFor(*members.group);
    if (*reading) return 0;
  }
  return takers;
}

void ConsumerSet::Observe(const wire::Delivery& delivery, const Now& now) {
  for (const auto& run : delivery.runs) {
    if (run.attempt != 1) continue;
    const UnixMillis arrived = lane_->core().appended_at(run.first);
    const UnixMillis age_ms = now.unix_ms > arrived ? now.unix_ms - arrived : 0;
    delivery_seconds_.Add(static_cast<double>(age_ms) / 1e3, run.count);
  }
}

ConsumerSet::Step ConsumerSet::DeliverTo(ConsumerStream& stream, uint64_t* most) {
  const Now& now = lane_->env().now;
  const auto stalled = [&](pb::StallReason reason, Step step) {
    stream.stall.Set(reason, now.mono);
    return step;
  };
  if (!stream.sink->CanDeliver()) return stalled(pb::STALL_REASON_SLOW_READER, Step::kCannot);
  queue::Lane& core = lane_->core();
  wire::Delivery delivery;
  queue::DiskRead read;
  std::vector<OffsetRange> gap;
  Credit max = kMostPerFrame;
  max.messages = std::min(max.messages, *most);
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
        return stalled(pb::STALL_REASON_RATE_LIMIT, Step::kCannot);
      }
      max.messages = std::min(max.messages, std::max<uint64_t>(allowed, 1));
    }
    outcome = core.Read(*stream.reader, room, max, &delivery, &read, &gap);
  } else {
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
      *most -= std::min(*most, delivery.cost.messages);
      stream.account.Deliver(delivery.cost);
      stream.tokens -= static_cast<double>(delivery.cost.messages);
      totals_.delivered += delivery.cost;
      if (!stream.is_reader()) Observe(delivery, now);
      stream.sink->OnDelivery(std::move(delivery));
      return stalled(pb::STALL_REASON_UNSPECIFIED, Step::kTook);
    case queue::Outcome::kGap:
      stream.sink->OnGap(gap, lane_->GapReasonFor(gap.front()));
      return Step::kToldGap;
    case queue::Outcome::kStopped:
      stream.ended = true;
      leaving_ = true;
      stream.sink->OnEnd(pb::END_REASON_STOP, stream.reader->next);
      return Step::kCannot;
    case queue::Outcome::kNoRoom: {
      const Credit own = stream.account.left();
      if (own.messages > room.messages || own.bytes > room.bytes) {
        return stalled(pb::STALL_REASON_IN_FLIGHT_CLAMP, Step::kCannot);
      }
      return stalled(room.messages > 0 && room.bytes > 0
                         ? pb::STALL_REASON_RECORD_LARGER_THAN_CREDIT
                         : pb::STALL_REASON_NO_CREDIT,
                     Step::kCannot);
    }
    case queue::Outcome::kReadDisk:
      return stalled(pb::STALL_REASON_READING_DISK, Step::kNothing);
    case queue::Outcome::kEmpty:
      return stalled(pb::STALL_REASON_EMPTY, Step::kNothing);
    case queue::Outcome::kMissing:
      Fail(stream, {.kind = ErrorKind::kCorrupt,
                    .message = "a record that should be kept is not in the log"});
      return Step::kCannot;
  }
  return Step::kCannot;
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
