#include "broker/storage/rocksdb_store.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "broker/storage/caretaker.h"
#include "broker/storage/commit_thread.h"
#include "broker/storage/data_folder.h"
#include "broker/storage/entry_table.h"
#include "broker/storage/lane_reader.h"
#include "broker/storage/manifest_watch.h"
#include "broker/storage/table_listener.h"
#include "broker/storage/task_pool.h"
#include "broker/storage/wal_guard.h"

namespace spillway::storage {
namespace {

class RocksDbOwner final : public Owner {
 public:
  RocksDbOwner(CommitThread& commits, std::shared_ptr<Tenure> tenure)
      : commits_(commits), tenure_(std::move(tenure)) {}
  ~RocksDbOwner() override {
    std::lock_guard lock(tenure_->mu);
    tenure_->on_lost = nullptr;
  }
  Epoch epoch() const override { return tenure_->epoch; }
  Err Append(const Record& record, Level level, Completion done) override {
    return commits_.Append(tenure_, record, level, std::move(done));
  }
  size_t room() const override { return commits_.room(); }
  void OnDrain(std::function<void()> f) override { commits_.OnDrain(std::move(f)); }
  void Barrier(Completion done) override { commits_.Barrier(tenure_, std::move(done)); }
  void Trim(Position upto, Completion done) override {
    commits_.Trim(tenure_, upto, std::move(done));
  }
  void OnLost(std::function<void()> f) override {
    {
      std::lock_guard lock(tenure_->mu);
      if (!tenure_->lost) {
        tenure_->on_lost = std::move(f);
        return;
      }
    }
    commits_.Call(std::move(f));
  }

 private:
  CommitThread& commits_;
  const std::shared_ptr<Tenure> tenure_;
};

}  // namespace

std::string_view OpenErrName(OpenErr err) {
  switch (err) {
    case OpenErr::kNone:
      return "NONE";
    case OpenErr::kInUse:
      return "IN_USE";
    case OpenErr::kNewerFormat:
      return "NEWER_FORMAT";
    case OpenErr::kCorrupt:
      return "CORRUPT";
    case OpenErr::kCannotCreate:
      return "CANNOT_CREATE";
    case OpenErr::kNotEnoughDisk:
      return "NOT_ENOUGH_DISK";
    case OpenErr::kFailed:
      return "FAILED";
  }
  return "INVALID";
}

class RocksDbStore::Core {
 public:
  explicit Core(RocksDbOptions options) : options_(std::move(options)) {
    if (!options_.disk_space) options_.disk_space = GetDiskSpace;
  }

  ~Core() {
    // From the outside in: reads and acquires end in the commit thread.
    if (pool_) pool_->Stop();
    if (caretaker_) caretaker_->Stop();
    if (commits_) commits_->Stop();
    listener_->Stop();
    table_.reset();
    if (folder_) folder_->mark().Sync();
    // A lane and its owner's tenure point at each other.
    for (auto& [id, lane] : lanes_) lane->owner.reset();
  }

  OpenErr Open(std::string* message) {
    const auto mark_interval =
        static_cast<MonoNanos>(options_.mark_sync_interval_ms) * kNanosPerMilli;
    OpenErr err = DataFolder::Open(options_.path, mark_interval, &folder_, message);
    if (err != OpenErr::kNone) return err;
    DiskWatch disk({.path = options_.path,
                    .floor_bytes = options_.disk_floor_bytes,
                    .reserve_release_bytes = options_.reserve_release_bytes,
                    .space = options_.disk_space},
                   ReserveFile(folder_->reserve_path(), options_.reserve_bytes));
    if (!disk.EnoughToOpen()) {
      *message = "not enough free space under " + options_.path + " to recover";
      return OpenErr::kNotEnoughDisk;
    }
    manifest_ = std::make_unique<ManifestWatch>(folder_->db_path(), folder_->mark());
    err = OpenTable(message);
    Epoch last_epoch = 0;
    if (err == OpenErr::kNone) err = ReadEpoch(&last_epoch, message);
    if (err != OpenErr::kNone) return err;

    commits_ = std::make_unique<CommitThread>(
        *table_, last_epoch,
        CommitThread::Options{.max_pending_bytes = options_.max_pending_bytes,
                              .max_cycle_bytes = options_.max_cycle_bytes,
                              .max_record_bytes = options_.max_record_bytes,
                              .write_buffer_bytes = options_.write_buffer_bytes,
                              .longest_poll = options_.longest_poll},
        CommitThread::Hooks{.on_written = [this](uint64_t n) { return folder_->mark().Written(n); },
                            .on_synced = [this](uint64_t n) { return folder_->mark().Synced(n); },
                            .on_trimmed =
                                [this](LaneId lane, Position upto, uint64_t bytes) {
                                  if (auto* c = caretaker_ready_.load())
                                    c->Trimmed(lane, upto, bytes);
                                }});
    caretaker_ = std::make_unique<Caretaker>(
        Caretaker::Options{.reclaim_bytes = options_.reclaim_bytes,
                           .interval_ms = options_.disk_check_interval_ms},
        *table_, *commits_, folder_->mark(), std::move(disk));
    caretaker_ready_ = caretaker_.get();
    listener_->Listen({.on_files_changed =
                           [this] {
                             if (!manifest_->Refresh()) {
                               commits_->Poison("the MANIFEST could not be checked");
                             }
                           },
                       .on_flushed = [this] { caretaker_->Flushed(); },
                       .on_error = [this](std::string why) { commits_->Poison(std::move(why)); }});
    pool_ = std::make_unique<TaskPool>(std::max(1, options_.read_threads));
    // Files may have changed before anyone listened.
    if (!manifest_->Refresh() || (folder_->is_new() && !folder_->Seal())) {
      *message = options_.path + " cannot be written";
      return OpenErr::kFailed;
    }
    return OpenErr::kNone;
  }

  void Acquire(LaneId id, Replay replay, Acquired done) {
    auto lane = Lane(id);
    TaskPool::Task task = [this, lane, replay = std::move(replay),
                           done = std::move(done)](bool stopping) mutable {
      std::string why;
      const Err err = stopping ? Err::kUnavailable : LoadLane(*table_, *lane, &why);
      Report(err, why);
      if (err != Err::kOk) return done(err, nullptr);
      commits_->Fence(lane, [this, replay = std::move(replay), done = std::move(done)](
                                Err err, std::shared_ptr<Tenure> tenure, Position fence) mutable {
        if (err != Err::kOk) return done(err, nullptr);
        TaskPool::Task next = [this, tenure, fence, replay = std::move(replay),
                               done](bool stopping) {
          HandOver(tenure, fence, replay, done, stopping);
        };
        if (!pool_->Post(next)) done(Err::kUnavailable, nullptr);
      });
    };
    if (!pool_->Post(task)) task(true);
  }

  void Read(LaneId id, Position from, size_t max_bytes, ReadDone done) {
    TaskPool::Task task = [this, lane = Lane(id), from, max_bytes, done](bool stopping) {
      ReadResult r{.err = Err::kUnavailable, .next = from};
      if (!stopping) {
        r.err = LoadLane(*table_, *lane, &r.why);
        if (r.err == Err::kOk) r = ReadLane(*table_, *lane, from, max_bytes);
        Report(r.err, r.why);
      }
      done(r.err, std::move(r.entries), r.next);
    };
    if (!pool_->Post(task, options_.max_waiting_reads)) {
      commits_->Call([done = std::move(done), from] { done(Err::kOverloaded, {}, from); });
    }
  }

  void Remove(LaneId id, Completion done) {
    TaskPool::Task task = [this, lane = Lane(id), done = std::move(done)](bool stopping) mutable {
      std::string why;
      const Err err = stopping ? Err::kUnavailable : LoadLane(*table_, *lane, &why);
      if (err != Err::kOk) return done(err, 0);
      commits_->Remove(lane, std::move(done));
    };
    if (!pool_->Post(task)) task(true);
  }

  StoreStats stats() const {
    StoreStats s;
    commits_->AddStats(s);
    s.live_bytes = table_->disk_bytes();
    return s;
  }

  const RocksDbOptions& options() const { return options_; }
  CommitThread& commits() { return *commits_; }

 private:
  // Opens RocksDB, and refuses what holds less than was promised.
  OpenErr OpenTable(std::string* message) {
    if (!folder_->is_new()) {
      *message = manifest_->Check();
      if (!message->empty()) return OpenErr::kCorrupt;
    }
    // As long as the machine has not been started anew the page cache is what was
    // written, and any damage is one. After a power failure what was not synced may
    // be torn anywhere: there the log is taken up to that.
    const Mark mark = folder_->mark().mark();
    const uint64_t boot = options_.boot != 0 ? options_.boot : CurrentBoot();
    const bool same_boot = boot != 0 && mark.boot == boot;
    OpenErr err = OpenTable(!same_boot, false, message);
    if (err == OpenErr::kCorrupt && !same_boot) err = OpenTable(true, true, message);
    if (err != OpenErr::kNone) return err;
    const uint64_t promised = same_boot ? mark.written : mark.sequence;
    const uint64_t found = table_->latest_sequence();
    if (found < promised) {
      *message = "the log ends at write " + std::to_string(found) + ", and up to " +
                 std::to_string(promised) + " was acknowledged";
      return OpenErr::kCorrupt;
    }
    folder_->mark().Recovered(found, boot);
    return OpenErr::kNone;
  }

  OpenErr OpenTable(bool stop_at_gap, bool stop_at_damage, std::string* message) {
    guard_ = std::make_unique<WalGuard>(folder_->db_path(), stop_at_gap);
    EntryTable::Options table;
    table.create = folder_->is_new();
    table.stop_at_damage = stop_at_damage;
    table.write_buffer_bytes = options_.write_buffer_bytes;
    table.max_total_wal_bytes = options_.max_total_wal_bytes;
    table.wal_filter = guard_.get();
    table.listeners = {listener_};
    if (options_.env != nullptr) table.env = options_.env;
    const rocksdb::Status s = EntryTable::Open(folder_->db_path(), table, &table_);
    if (!s.ok()) {
      *message = s.ToString();
      if (s.IsNoSpace()) return OpenErr::kNotEnoughDisk;
      // A file that is named and not there is a damage too.
      const bool damaged =
          s.IsCorruption() || s.IsNotFound() || s.IsPathNotFound() || s.IsInvalidArgument();
      return damaged ? OpenErr::kCorrupt : OpenErr::kFailed;
    }
    if (!guard_->gap().empty() && !stop_at_gap) {
      *message = guard_->gap();
      return OpenErr::kCorrupt;
    }
    return OpenErr::kNone;
  }

  OpenErr ReadEpoch(Epoch* last_epoch, std::string* message) {
    std::optional<std::string> stored;
    const rocksdb::Status s = table_->GetMeta(EpochKey(), &stored);
    std::optional<Epoch> epoch = 0;
    if (s.ok() && stored) epoch = DecodeEpoch(*stored);
    if (s.ok() && epoch) {
      *last_epoch = *epoch;
      return OpenErr::kNone;
    }
    *message = s.ok() ? "the epoch counter is corrupt" : s.ToString();
    return s.ok() || s.IsCorruption() ? OpenErr::kCorrupt : OpenErr::kFailed;
  }

  std::shared_ptr<LaneState> Lane(LaneId id) {
    std::lock_guard lock(mu_);
    auto& lane = lanes_[id];
    if (!lane) lane = std::make_shared<LaneState>(id);
    return lane;
  }

  void Report(Err err, const std::string& why) const {
    if (err == Err::kCorrupt && options_.on_damage) options_.on_damage(why);
  }

  void HandOver(const std::shared_ptr<Tenure>& tenure, Position fence, const Replay& replay,
                const Acquired& done, bool stopping) {
    if (stopping) return done(Err::kUnavailable, nullptr);
    std::string why;
    Err err = ReplayLane(*table_, *tenure->lane, fence, replay, &why);
    // Someone else took it while it was replayed; what the replay met is theirs.
    const Err lost = tenure->error.load(std::memory_order_acquire);
    if (lost != Err::kOk) err = lost;
    Report(err, why);
    if (err != Err::kOk) return done(err, nullptr);
    done(Err::kOk, std::make_unique<RocksDbOwner>(*commits_, tenure));
  }

  RocksDbOptions options_;
  std::unique_ptr<DataFolder> folder_;
  std::unique_ptr<ManifestWatch> manifest_;
  const std::shared_ptr<TableListener> listener_ = std::make_shared<TableListener>();
  std::unique_ptr<WalGuard> guard_;
  std::unique_ptr<EntryTable> table_;
  std::unique_ptr<CommitThread> commits_;
  std::unique_ptr<Caretaker> caretaker_;
  std::atomic<Caretaker*> caretaker_ready_ = nullptr;
  std::unique_ptr<TaskPool> pool_;
  std::mutex mu_;
  std::map<LaneId, std::shared_ptr<LaneState>> lanes_;  // guarded by mu_
};

RocksDbStore::RocksDbStore(std::unique_ptr<Core> core) : core_(std::move(core)) {}
RocksDbStore::~RocksDbStore() = default;

RocksDbStore::Opened RocksDbStore::Open(RocksDbOptions options) {
  auto core = std::make_unique<Core>(std::move(options));
  Opened result;
  result.err = core->Open(&result.message);
  if (result.err == OpenErr::kNone) result.store.reset(new RocksDbStore(std::move(core)));
  return result;
}

Capabilities RocksDbStore::capabilities() const {
  return {.max_record_bytes = core_->options().max_record_bytes, .level = Level::kFsync};
}
void RocksDbStore::Acquire(LaneId lane, Replay replay, Acquired done) {
  core_->Acquire(lane, std::move(replay), std::move(done));
}
void RocksDbStore::Read(LaneId lane, Position from, size_t max_bytes, ReadDone done) {
  core_->Read(lane, from, max_bytes, std::move(done));
}
void RocksDbStore::Watch(std::function<void(LaneId, bool)>) {}
void RocksDbStore::Remove(LaneId lane, Completion done) { core_->Remove(lane, std::move(done)); }
void RocksDbStore::BeginRound() { core_->commits().BeginRound(); }
void RocksDbStore::EndRound(bool may_wait) { core_->commits().EndRound(may_wait); }
StoreStats RocksDbStore::stats() const { return core_->stats(); }
void RocksDbStore::OnPoisoned(std::function<void(std::string)> f) {
  core_->commits().OnPoisoned(std::move(f));
}

}  // namespace spillway::storage
