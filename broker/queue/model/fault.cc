#include "broker/queue/model/fault.h"

#include <utility>

#include "broker/queue/model/records.h"

namespace spillway::queue::model {
namespace {

std::vector<std::string> Bodies(const wire::Records& records) {
  std::vector<std::string> out;
  out.reserve(records.count());
  for (uint32_t i = 0; i < records.count(); ++i) out.emplace_back(records.Body(i));
  return out;
}

// The first two records change places.
void Reorder(wire::Delivery* delivery) {
  std::vector<std::string> bodies;
  for (const Seen& seen : Unpack(*delivery)) bodies.push_back(seen.body);
  if (bodies.size() < 2) return;
  std::swap(bodies[0], bodies[1]);
  const wire::Records records = MakeRecords(bodies);
  delivery->fields.clear();
  delivery->fields.push_back(records.FieldsSlice(0, records.count()));
}

// The first two runs change places.
void SwapRuns(wire::Delivery* delivery) {
  if (delivery->runs.size() < 2 || delivery->fields.size() != delivery->runs.size()) return;
  std::swap(delivery->runs[0], delivery->runs[1]);
  std::swap(delivery->fields[0], delivery->fields[1]);
}

}  // namespace

std::string_view FaultName(Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return "None";
    case Fault::kCursorPlusOne:
      return "CursorPlusOne";
    case Fault::kDropBatchTail:
      return "DropBatchTail";
    case Fault::kReorderRecords:
      return "ReorderRecords";
    case Fault::kFlipByte:
      return "FlipByte";
    case Fault::kRedeliverOutOfOrder:
      return "RedeliverOutOfOrder";
    case Fault::kAckBeforeStored:
      return "AckBeforeStored";
    case Fault::kDoubleSettle:
      return "DoubleSettle";
    case Fault::kSkipLostSilently:
      return "SkipLostSilently";
    case Fault::kBeyondRoom:
      return "BeyondRoom";
    case Fault::kForgetRequeue:
      return "ForgetRequeue";
    case Fault::kForgetExtend:
      return "ForgetExtend";
    case Fault::kReuseOffsets:
      return "ReuseOffsets";
    case Fault::kForgetEntry:
      return "ForgetEntry";
    case Fault::kForgetSettled:
      return "ForgetSettled";
    case Fault::kHeadTooFar:
      return "HeadTooFar";
    case Fault::kSilentRemoval:
      return "SilentRemoval";
  }
  return "?";
}

Offset FaultyLane::Stored(LogPosition position) {
  const Offset end = lane_.Stored(position);
  return Is(Fault::kAckBeforeStored) ? lane_.window().storing_end() : end;
}

Outcome FaultyLane::Deliver(Group& group, MemberId member, const Credit& room, const Credit& max,
                            const Now& now, MonoNanos ack_deadline, wire::Delivery* out,
                            DiskRead* read, std::vector<OffsetRange>* gap) {
  Credit limit = room, frame = max;
  if (Is(Fault::kBeyondRoom)) limit.messages = frame.messages = room.messages + 1;
  const Outcome outcome =
      lane_.Deliver(group, member, limit, frame, now, ack_deadline, out, read, gap);
  if (Is(Fault::kReorderRecords)) Reorder(out);
  if (Is(Fault::kRedeliverOutOfOrder)) SwapRuns(out);
  if (Is(Fault::kSkipLostSilently)) gap->clear();
  return outcome;
}

std::vector<OffsetRange> FaultyLane::Settle(Group& group, OffsetRange range, MemberId member,
                                            SettleAction action, MonoNanos delay, const Now& now,
                                            const RetryRules& rules) {
  if (Is(Fault::kDoubleSettle)) {
    group.Settle({range.end(), 1}, member, action, delay, "test", now, rules);
  }
  return group.Settle(range, member, action, delay, "test", now, rules);
}

std::vector<OffsetRange> FaultyLane::Extend(Group& group, OffsetRange range, MemberId member,
                                            MonoNanos deadline) {
  if (Is(Fault::kForgetExtend)) return {};
  return group.Extend(range, member, deadline);
}

void FaultyLane::Disconnect(Group& group, MemberId member) {
  if (!Is(Fault::kForgetRequeue)) group.Disconnect(member);
}

Group::State FaultyLane::Save(const Group& group) const {
  Group::State state = group.state();
  if (Is(Fault::kCursorPlusOne) && state.cursor < lane_.visible_end()) ++state.cursor;
  if (Is(Fault::kForgetSettled)) state.settled.clear();
  return state;
}

void FaultyLane::Finish(Fetch* fetch, std::deque<Batch> batches, LogPosition next) const {
  for (Batch& batch : batches) {
    std::vector<std::string> bodies = Bodies(batch.records);
    if (Is(Fault::kDropBatchTail) && bodies.size() > 1) bodies.pop_back();
    if (Is(Fault::kFlipByte) && !bodies[0].empty()) bodies[0][0] ^= 1;
    if (fault_ != Fault::kNone) batch.records = MakeRecords(bodies);
  }
  fetch->Finish(std::move(batches), next);
}

std::vector<GroupGap> FaultyLane::AdvanceHead(Offset head, GoneReason reason) {
  auto gaps = lane_.AdvanceHead(Is(Fault::kHeadTooFar) ? head + 1 : head, reason);
  if (Is(Fault::kSilentRemoval)) gaps.clear();
  return gaps;
}

bool FaultyLane::Replayed(const Batch& batch, LogPosition position) {
  // The last of a few is forgotten, so that the next one is taken for a hole.
  if (Is(Fault::kForgetEntry) && position % 3 == 0) return true;
  return lane_.Replayed(batch.first, batch.records.count(), batch.records.Cost().bytes,
                        batch.appended_at, position);
}

void FaultyLane::FinishReplay(Offset reserved) {
  lane_.FinishReplay(Is(Fault::kReuseOffsets) ? 0 : reserved);
}

}  // namespace spillway::queue::model
