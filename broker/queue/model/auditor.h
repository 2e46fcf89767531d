// What a lane should do, as plainly as it can be said: a list of records, and for
// each group one cell per offset. Slow, and hard to get wrong.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "broker/base/types.h"
#include "broker/queue/group.h"
#include "broker/queue/lane.h"
#include "broker/queue/model/records.h"

namespace spillway::queue::model {

struct Cell {
  enum class Is : uint8_t { kFresh, kInFlight, kDelayed, kReady, kParked, kSettled };
  Is is = Is::kFresh;
  uint32_t attempt = 0;
  MemberId member = 0;
  MonoNanos due = 0;  // in flight: the deadline; delayed: until then
};

struct AuditedGroup {
  Offset start = 0;
  Offset cursor = 0;
  std::vector<Cell> cells;  // by offset; those behind the end are fresh

  Cell& at(Offset offset);
};

struct AuditedReader {
  Offset next = 0;
  Offset stop = 0;
  UnixMillis stop_time = 0;
};

// Each call mirrors one call of the lane and compares what came out. The first
// contradiction is kept in failure(); after it nothing means anything.
// Thread-safety: none.
class Auditor {
 public:
  explicit Auditor(const RetryRules* rules) : rules_(rules) {}

  const std::string& failure() const { return failure_; }
  void Fail(std::string why);
  void Check(bool ok, std::string_view why) {
    if (!ok) Fail(std::string(why));
  }

  // ---- The log.
  Offset head() const { return head_; }
  Offset tail() const { return log_.size(); }
  uint64_t acked() const { return acked_; }
  void Published(Offset first, const std::vector<std::string>& bodies, UnixMillis appended_at);
  // `durable`: the acknowledgement promises that the disk has it.
  void Acked(Offset end, bool durable);
  void Durable(Offset first, Offset end);
  const std::string& body(Offset offset) const { return log_[offset].body; }
  UnixMillis appended_at(Offset offset) const { return log_[offset].appended_at; }
  bool lost(Offset offset) const { return log_[offset].lost; }
  // Body bytes of what is from `offset` on.
  uint64_t BytesFrom(Offset offset) const;

  // ---- Groups.
  void AddGroup(const std::string& name, Offset start);
  void RemoveGroup(const std::string& name);
  const AuditedGroup& group(const std::string& name) const { return groups_.at(name); }
  void Delivered(const std::string& group, MemberId member, const std::vector<Seen>& seen,
                 MonoNanos deadline);
  void Gap(const std::string& group, const std::vector<OffsetRange>& ranges);
  void Settled(const std::string& group, OffsetRange range, MemberId member, SettleAction action,
               MonoNanos delay, const Now& now, const std::vector<OffsetRange>& stale);
  void Extended(const std::string& group, OffsetRange range, MemberId member, MonoNanos deadline,
                const std::vector<OffsetRange>& stale);
  void Disconnected(const std::string& group, MemberId member);
  void Reclaimed(const std::string& group, OffsetRange range, MemberId member, Offset end,
                 MonoNanos deadline, const std::vector<OffsetRange>& refused);
  using Revoked = std::vector<std::pair<MemberId, OffsetRange>>;
  void Ticked(const std::string& group, const Now& now, const Revoked& revoked);
  void Sought(const std::string& group, Offset target, const Revoked& revoked);
  void Released(const std::string& group, OffsetRange range, uint64_t released);
  std::vector<OffsetRange> HeldBy(const std::string& group, MemberId member) const;
  // Whether nothing below `end` can be delivered now.
  bool NothingDue(const std::string& group, Offset end) const;
  // Whether nothing is left to deliver or to settle.
  bool Drained(const std::string& group) const;
  // Compares cursors and counts with the lane's.
  void Compare(const Lane& lane);
  // I1: every record that was acknowledged was delivered to every group, or named.
  void CheckAllTold();

  // ---- Readers.
  void Read(AuditedReader& reader, const std::vector<Seen>& seen);
  void ReaderGap(AuditedReader& reader, const std::vector<OffsetRange>& ranges);
  void ReaderStopped(const AuditedReader& reader);

  // ---- Removing.
  void HeadAdvanced(Offset head, const std::vector<GroupGap>& gaps);
  Offset SettledHead(Offset visible_end) const;

  // ---- A crash, then what the log gave back.
  void Crash();
  void RestoreGroup(const std::string& name, const AuditedGroup& saved);
  void RestoreHead(Offset head) { head_ = std::max(head_, head); }
  void FinishRestart(const Lane& lane, Offset reserved);

 private:
  struct Logged {
    std::string body;
    UnixMillis appended_at = 0;
    bool acked = false;
    bool promised = false;  // acknowledged as durable
    bool pinned = false;    // someone saw it
    bool durable = false;
    bool lost = false;
  };
  void CheckRecord(const Seen& seen);
  void Again(Cell& cell, Offset offset, uint32_t attempt, MonoNanos due, MonoNanos now) const;
  void Park(Cell& cell, Offset offset) const;
  void AdvanceCursor(AuditedGroup& group);
  void Tell(const std::string& group, Offset offset);

  const RetryRules* const rules_;
  std::vector<Logged> log_;
  Offset head_ = 0;
  std::map<std::string, AuditedGroup> groups_;
  // Delivered, named as gone, or left out by a seek: by group and offset.
  std::map<std::string, std::vector<bool>> told_;
  uint64_t acked_ = 0;
  Offset acked_end_ = 0;
  UnixMillis last_appended_at_ = 0;
  std::string failure_;
};

}  // namespace spillway::queue::model
