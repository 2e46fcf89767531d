// Planted faults: a lane that goes wrong in one way, for the checker to find.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/queue/lane.h"

namespace spillway::queue::model {

enum class Fault : uint8_t {
  kNone,
  kCursorPlusOne,        // a saved cursor skips one record
  kDropBatchTail,        // what is read from disk lacks its last record
  kReorderRecords,       // two records of a delivery change places
  kFlipByte,             // a payload from the disk has one other byte
  kRedeliverOutOfOrder,  // a later range is delivered first
  kAckBeforeStored,      // acknowledges what is only on its way
  kDoubleSettle,         // a settle takes the next record with it
  kSkipLostSilently,     // a lost range is skipped and not named
  kBeyondRoom,           // delivers one record more than there is room for
  kForgetRequeue,        // what a disconnected member held stays with it
  kForgetExtend,         // deadlines are not moved
  kReuseOffsets,         // a restart gives out offsets again
  kForgetEntry,          // a restart overlooks a data entry
  kForgetSettled,        // a saved group lacks what is settled above its cursor
  kHeadTooFar,           // removes one record too many
  kSilentRemoval,        // removes records and tells nobody
};
inline constexpr Fault kFaults[] = {
    Fault::kCursorPlusOne, Fault::kDropBatchTail,       Fault::kReorderRecords,
    Fault::kFlipByte,      Fault::kRedeliverOutOfOrder, Fault::kAckBeforeStored,
    Fault::kDoubleSettle,  Fault::kSkipLostSilently,    Fault::kBeyondRoom,
    Fault::kForgetRequeue, Fault::kForgetExtend,        Fault::kReuseOffsets,
    Fault::kForgetEntry,   Fault::kForgetSettled,       Fault::kHeadTooFar,
    Fault::kSilentRemoval};
std::string_view FaultName(Fault fault);

// Stands between whoever drives a lane and the lane, and passes calls on; with a
// fault, not faithfully. What is not here is called on the lane itself.
// Thread-safety: none.
class FaultyLane {
 public:
  FaultyLane(const Tuning& tuning, Fault fault) : fault_(fault), lane_(tuning) {}

  Lane* operator->() { return &lane_; }
  Lane& core() { return lane_; }

  Offset Stored(LogPosition position);
  Outcome Deliver(Group& group, MemberId member, const Credit& room, const Credit& max,
                  const Now& now, MonoNanos ack_deadline, wire::Delivery* out, DiskRead* read,
                  std::vector<OffsetRange>* gap);
  std::vector<OffsetRange> Settle(Group& group, OffsetRange range, MemberId member,
                                  SettleAction action, MonoNanos delay, const Now& now,
                                  const RetryRules& rules);
  std::vector<OffsetRange> Extend(Group& group, OffsetRange range, MemberId member,
                                  MonoNanos deadline);
  void Disconnect(Group& group, MemberId member);
  Group::State Save(const Group& group) const;
  void Finish(Fetch* fetch, std::deque<Batch> batches, LogPosition next) const;
  std::vector<GroupGap> AdvanceHead(Offset head, GoneReason reason);
  bool Replayed(const Batch& batch, LogPosition position);
  void FinishReplay(Offset reserved);

 private:
  bool Is(Fault fault) const { return fault_ == fault; }

  const Fault fault_;
  Lane lane_;
};

}  // namespace spillway::queue::model
