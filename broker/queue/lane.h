// The core of a queue: the log's tail in memory, what is on disk, and who has
// read how far.
//
// Pure: no I/O, no clock, no threads. The runtime tells it what happened
// (published, stored, read, settled) and asks what to do next (what to store,
// what to deliver, what to read from disk).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/base/types.h"
#include "broker/queue/batch.h"
#include "broker/queue/disk_index.h"
#include "broker/queue/group.h"
#include "broker/queue/reader.h"
#include "broker/queue/resident_window.h"
#include "broker/queue/tuning.h"
#include "broker/wire/delivery.h"

namespace spillway::queue {

// Why records are gone.
enum class GoneReason : uint8_t { kDropped = 1, kRetention = 2, kPurged = 3, kLost = 4 };

// What a group lost, to be told to its members.
struct GroupGap {
  Group* group = nullptr;
  std::vector<OffsetRange> ranges;
};

// What became of an attempt to deliver.
enum class Outcome : uint8_t {
  kDelivered,
  kEmpty,     // nothing to deliver
  kNoRoom,    // the next record does not fit into the room
  kReadDisk,  // a read must finish first (see DiskRead)
  kGap,       // records are gone: `gap` says which; try again
  kStopped,   // a reader reached its stop
  kMissing,   // a record that should be kept cannot be found: corrupt
};

// A read that a cursor waits for, or will soon, where `fetch` is set; that may be so
// whatever the outcome, because what is fresh need not wait for what is delivered
// again, and what is used is read ahead. The runtime starts it and calls fetch->Begin
// at once, or forgets it and asks again.
struct DiskRead {
  Fetch* fetch = nullptr;
  LogPosition from = 0;
};

// Invariants:
//  - head <= visible_end <= tail; window.end() == tail; offsets are dense.
//  - every offset in [head, window.begin()) is on disk or in `lost`.
//  - a group's needed_from() >= head, but for what is in flight.
// Thread-safety: none.
class Lane {
 public:
  explicit Lane(const Tuning& tuning);

  const Tuning& tuning() const { return tuning_; }
  // What waits for the store to be seen goes on waiting when MEMORY comes, until the
  // next Publish; that and all before it must be reserved.
  void set_tuning(const Tuning& tuning) { tuning_ = tuning; }

  Offset head() const { return head_; }
  Offset tail() const { return window_.end(); }
  // Consumers see what is below: everything for MEMORY, else what is stored.
  Offset visible_end() const { return visible_end_; }
  const ResidentWindow& window() const { return window_; }
  const DiskIndex& index() const { return index_; }

  // ---- Producers.
  // Appends; returns the offset of the first record.
  Offset Publish(wire::Records records, Origin origin, const Now& now);
  // The next batch that must go to the store: all for PERSISTED and SYNCED; for
  // MEMORY the oldest, while more than `keep` is in memory only, or it is from
  // before the queue was MEMORY.
  const Batch* NextToStore(const Credit& keep) const;
  void MarkStoring() { window_.MarkStoring(); }
  // The oldest batch on its way is at `position`. Returns the new stored end.
  Offset Stored(LogPosition position);
  // Evicts from the front what need not be in memory until the window's footprint
  // is at most `target_bytes`, and the rest at most `target_messages`.
  void EvictTo(uint64_t target_bytes, uint64_t target_messages);

  // ---- Groups and readers.
  Group* AddGroup(const std::string& name, GroupMode mode, Offset start);
  Group* FindGroup(const std::string& name);
  void RemoveGroup(const std::string& name);
  const std::map<std::string, std::unique_ptr<Group>>& groups() const { return groups_; }

  // Whether there is something to deliver to a member, or to tell it of: what Deliver
  // gives is not kEmpty.
  bool HasFor(Group& group) const {
    return group.has_ready() || group.FreshRange().first < visible_end_;
  }
  // Fills `out` for a member that has `room`, at most `max` of it in this frame.
  Outcome Deliver(Group& group, MemberId member, const Credit& room, const Credit& max,
                  const Now& now, MonoNanos ack_deadline, wire::Delivery* out, DiskRead* read,
                  std::vector<OffsetRange>* gap);
  Outcome Read(Reader& reader, const Credit& room, const Credit& max, wire::Delivery* out,
               DiskRead* read, std::vector<OffsetRange>* gap);

  // ---- Removing.
  // Where UNTIL_SETTLED lets the head be; the head itself under LIMITS.
  Offset SettledHead() const;
  // Where LIMITS put the head at `now` (granular to the marks of the index).
  Offset RetentionHead(const Now& now) const;
  // Where DROP_OLDEST puts the head so that at most `bytes` and `messages` of
  // backlog stay.
  Offset DropHead(uint64_t bytes, uint64_t messages) const;
  // Removes everything below `head` (never past the visible end), tells groups.
  std::vector<GroupGap> AdvanceHead(Offset head, GoneReason reason);
  GoneReason gone_reason() const { return gone_reason_; }
  // Notes where the head is in the store, as far as memory knows it, so that
  // NeededPosition() is exact, not up to a MiB before it.
  void MarkHead();
  // The store's position below which no records are needed; none if no records in
  // the store are. Taken together with state(): once that is durable, the log can be
  // trimmed to here, or to the state's own entry.
  std::optional<LogPosition> NeededPosition() const;

  // ---- Numbers.
  // The lowest cursor of a group (the head without groups): what is from there to
  // the tail is the backlog.
  Offset settled_through() const;
  Credit backlog() const;
  uint64_t bytes_before(Offset offset) const;
  uint64_t disk_bytes() const;
  uint64_t disk_messages() const;
  uint64_t dropped_total() const { return dropped_total_; }
  uint64_t spilled_messages_total() const { return spilled_.messages; }
  uint64_t spilled_bytes_total() const { return spilled_.bytes; }
  uint64_t unspilled_messages_total() const { return unspilled_messages_; }
  // When the oldest record at or after `offset` was appended, as well as known.
  UnixMillis appended_at(Offset offset) const;

  // ---- Recovery: a snapshot, then the entries after it, in order.
  struct State {
    Offset head = 0;
    Offset tail = 0;
    uint64_t bytes_before_tail = 0;
    UnixMillis last_appended_at = 0;
    std::vector<DiskIndex::Mark> marks;
    std::vector<OffsetRange> lost;
  };
  // Whether state() would find everything again. False only while the first batch
  // that is needed is on its way, because its position is not known.
  bool CanSnapshot() const;
  // The state to be appended after all batches that are stored or on their way.
  // REQUIRES: CanSnapshot().
  State state() const;
  void Restore(const State& state);
  // A data entry was replayed. Returns false if it contradicts what came before.
  bool Replayed(Offset first, uint32_t count, uint64_t bytes, UnixMillis appended_at,
                LogPosition position);
  // After the replay: offsets below `reserved` may have been given out and lost
  // with the memory; the tail goes there, and the hole is remembered until every
  // group was told. REQUIRES: the groups are restored.
  void FinishReplay(Offset reserved);

 private:
  // A batch is at `position`.
  void Index(const DiskIndex::Mark& mark);
  // Drops the marks when no records in the store are needed: the entries they name
  // may be trimmed.
  void ForgetIndex();
  const Batch* Locate(Offset offset, Fetch& fetch, DiskRead* read, Outcome* outcome);
  // Where to read for `offset`; nothing if the store does not have it.
  std::optional<LogPosition> ReadFrom(Offset offset, const Fetch& fetch) const;
  // Asks for what the cursor needs next, below `stop`, unless another read is asked for.
  void ReadAhead(Fetch& fetch, Offset stop, DiskRead* read) const;
  static uint32_t Take(const Batch& batch, Offset first, uint64_t count, const Credit& room,
                       uint32_t attempt, wire::Delivery* out);

  Tuning tuning_;
  Offset head_ = 0;
  Offset visible_end_ = 0;
  // What is before it goes to the store whatever the durability is now.
  Offset promised_end_ = 0;
  ResidentWindow window_;
  DiskIndex index_;
  LogPosition stored_position_ = 0;  // of the last batch stored; 0: none yet
  // Offsets that were only in memory when a broker ended.
  RangeSet lost_;
  std::map<std::string, std::unique_ptr<Group>> groups_;
  uint64_t bytes_total_ = 0;  // body bytes ever appended
  UnixMillis last_appended_at_ = 0;
  GoneReason gone_reason_ = GoneReason::kRetention;
  uint64_t dropped_total_ = 0;
  Credit spilled_;
  uint64_t unspilled_messages_ = 0;
};

}  // namespace spillway::queue
