// A lane as it runs: its core, its log, its producers and its consumers,
// introduced to each other.
//
// The flow, always in this direction: calls of handles change the core and the
// accounts and mark the lane dirty; Flush, once for a batch, moves what is due to
// the log, frees memory, confirms, grants and delivers.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/types.h"
#include "broker/credit/memory_budget.h"
#include "broker/queue/lane.h"
#include "broker/runtime/consumers.h"
#include "broker/runtime/lane_env.h"
#include "broker/runtime/lane_log.h"
#include "broker/runtime/publishers.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::runtime {

// Thread-safety: shard thread only, but for the replay of Recover.
class LaneActor {
 public:
  LaneActor(LaneId id, std::string name, uint64_t revision, const queue::Tuning& tuning,
            LaneEnv* env);
  ~LaneActor();
  LaneActor(const LaneActor&) = delete;
  LaneActor& operator=(const LaneActor&) = delete;

  // Takes the lane over in the store and replays it into the core; `done` runs in
  // a batch. On an error the lane stays and refuses to serve.
  void Recover(std::function<void(std::optional<Error>)> done);
  bool ready() const { return ready_; }
  // Why the lane refuses to serve.
  const std::optional<Error>& failure() const { return failure_; }

  LaneId id() const { return id_; }
  const std::string& name() const { return name_; }
  uint64_t revision() const { return revision_; }
  storage::Epoch log_epoch() const { return log_.epoch(); }
  LaneEnv& env() { return *env_; }
  queue::Lane& core() { return core_; }
  const queue::Lane& core() const { return core_; }
  PublisherSet& publishers() { return publishers_; }
  ConsumerSet& consumers() { return consumers_; }
  const std::shared_ptr<bool>& alive() const { return alive_; }

  void MarkDirty() { env_->MarkDirty(this); }
  // Makes everything happen that follows from the batch's events.
  void Flush();
  // Changes only where the lane is marked dirty.
  MonoNanos next_deadline() const;

  // ---- For publishers and consumers.
  Offset Append(wire::Records records, queue::Origin origin);
  // The offset that a Start names; `field` is named in errors. `done` may run
  // inside the call or in a later batch.
  void ResolveStart(const pb::Start& start, const std::string& field,
                    std::function<void(Result<Offset>)> done);
  void CreateGroup(const std::string& name, pb::GroupMode mode, Offset start,
                   std::function<void(Result<queue::Group*>)> done);
  void SaveGroup(queue::Group* group);
  void StartRead(const queue::DiskRead& read);
  void ForgetFetch(const queue::Fetch* fetch);
  pb::GapReason GapReasonFor(const OffsetRange& range) const;

  static constexpr size_t kMaxGroups = 1'000;

  // ---- Administration. `done` runs once what changed is durable.
  using Done = std::function<void(Status)>;
  void SetTuning(uint64_t revision, const queue::Tuning& tuning);
  // Removes below `head` (clamped to what is visible).
  void Purge(Offset head, Done done);
  void SeekGroup(queue::Group* group, Offset target, Done done);
  void DeleteGroup(queue::Group* group, Done done);
  void ReleaseParked(queue::Group* group, const std::vector<OffsetRange>& ranges,
                     std::function<void(Result<uint64_t>)> done);
  // Up to `most` records from `from` on.
  void Peek(Offset from, uint32_t most, std::function<void(Result<pb::PeekResponse>)> done);
  void Describe(pb::QueueStats* stats) const;
  void Explain(pb::ExplainResponse* out);
  void ExplainGroup(const queue::Group& group, pb::ExplainResponse* out);

  // Ends every stream with this error, and refuses new ones.
  void Fail(const Error& error);
  // Stores what is in memory only, saves cursors and a snapshot; `done` when that
  // is durable. Producers are granted nothing from then on.
  void Drain(std::function<void()> done);
  // The time to spend credit is over: producers are closed.
  void StopTaking();
  bool draining() const { return draining_; }
  // More waits for consumers than the window holds: it is on disk.
  bool spilling() const;
  // What was credited is used up: by producers, and by consumers.
  bool spent() const;
  // When the oldest record on its way to the store was appended; nothing if there is none.
  std::optional<MonoNanos> oldest_append() const { return log_.oldest(); }
  // Whether the lane waits to be flushed; kept by the environment.
  bool dirty = false;
  // When its owner looks at it next, at the latest; max(): when it is dirty.
  MonoNanos timer = std::numeric_limits<MonoNanos>::max();

  // Gives the lane up; nothing is on its way when idle() says so.
  void Release() { log_.Release(); }
  bool idle() const { return log_.outstanding() == 0; }

 private:
  struct Recovery;
  void FinishRecovery(storage::Err err, std::unique_ptr<storage::Owner> owner,
                      const std::shared_ptr<Recovery>& recovery,
                      const std::function<void(std::optional<Error>)>& done);
  void OnDataStored(storage::Err err, storage::Position position, MonoNanos at);
  void FailStore(storage::Err err);
  void PumpLog();
  // Whether the next batch may go to the store now.
  bool MayStore(const queue::Batch& batch);
  void Reserve();
  void AdvanceHead(Offset head, queue::GoneReason reason);
  // What the log says of the groups is what they are.
  void NoteGroupsSaved();
  void SaveDirtyGroups(bool now_due);
  bool SnapshotDue() const;
  void MaybeSnapshot();
  void AppendSnapshot(LaneLog::Then then);
  credit::Pressure MakePressure();
  void FinishRead(uint64_t id, storage::Err err, const std::vector<storage::Entry>& entries,
                  storage::Position next);
  void SearchTime(UnixMillis time, storage::Position from,
                  std::function<void(Result<Offset>)> done);
  void PeekFrom(std::shared_ptr<queue::Reader> reader, uint32_t most,
                std::function<void(Result<pb::PeekResponse>)> done);
  Error StoreError(storage::Err err) const;

  // A snapshot after so much in the log bounds what a restart replays.
  static constexpr uint64_t kSnapshotEveryBytes = 64 << 20;
  // Only a snapshot lets go of what is no longer needed. What is gone before RocksDB
  // flushes it costs the log alone, so there is one whenever all lanes together have
  // written a small part of its buffer, if it frees enough to be worth it; more if all
  // have filled half of that buffer meanwhile, since it may come too late for the flush.
  static constexpr uint64_t kTrimEveryBytes = 4 << 20;
  static constexpr uint64_t kTrimWorthBytes = 64 << 10;
  static constexpr uint64_t kTrimLateWorthBytes = 1 << 20;
  static constexpr uint64_t kTrimSoonBytes = 64 << 20;
  // And it frees many times what it is itself: that of many producers is large.
  static constexpr uint64_t kTrimWorthSnapshots = 16;

  const LaneId id_;
  const std::string name_;
  uint64_t revision_;
  LaneEnv* const env_;
  bool ready_ = false;
  std::optional<Error> failure_;
  queue::Lane core_;
  LaneLog log_;
  credit::MemoryBudget::Share budget_;
  PublisherSet publishers_;
  ConsumerSet consumers_;

  // MEMORY: offsets below this may be given out; see LaneControl.
  Offset reserved_ = 0;
  bool reserving_ = false;
  // Reads under way, by number; forgotten ones are ignored when they finish.
  std::unordered_map<uint64_t, queue::Fetch*> reads_;
  uint64_t next_read_ = 1;
  std::unordered_map<std::string, uint64_t> saved_versions_;
  bool groups_dirty_ = false;
  MonoNanos save_groups_at_ = 0;  // if they are
  MonoNanos retention_at_ = 0;
  MonoNanos retry_log_at_ = 0;
  // When the next batch of a queue that spills may go to the store; 0: not asked yet.
  MonoNanos turn_at_ = 0;
  bool waits_for_turn_ = false;
  uint64_t bytes_since_snapshot_ = 0;
  uint64_t snapshot_bytes_ = 0;  // of the last one
  // In the log and not let go of: what was appended since the last snapshot, and what
  // was needed or on its way then.
  uint64_t untrimmed_bytes_ = 0;
  // What all lanes had written at the last snapshot, and when the oldest of what is
  // untrimmed came (for what the last snapshot left: then).
  uint64_t appended_bytes_at_snapshot_ = 0;
  uint64_t appended_bytes_at_oldest_ = 0;
  uint64_t gone_bytes_at_snapshot_ = 0;  // the lane's bytes below its head
  bool snapshotting_ = false;
  bool draining_ = false;
  bool out_of_time_ = false;
  std::function<void()> drained_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace spillway::runtime
