#include "broker/storage/rocksdb_store.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "broker/storage/commit_thread.h"
#include "broker/storage/entry_table.h"
#include "broker/storage/lane_reader.h"
#include "broker/storage/task_pool.h"

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
  explicit Core(RocksDbOptions options) : options_(std::move(options)) {}

  ~Core() {
    // Reads and acquires first: they end in the commit thread.
    if (pool_) pool_->Stop();
    if (commits_) commits_->Stop();
    // A lane and its owner's tenure point at each other.
    for (auto& [id, lane] : lanes_) lane->owner.reset();
  }

  OpenErr Open(std::string* message) {
    EntryTable::Options table;
    table.write_buffer_bytes = options_.write_buffer_bytes;
    table.max_total_wal_bytes = options_.max_total_wal_bytes;
    if (options_.env != nullptr) table.env = options_.env;
    rocksdb::Status s = EntryTable::Open(options_.path, table, &table_);
    if (!s.ok()) {
      *message = s.ToString();
      return s.IsCorruption() ? OpenErr::kCorrupt : OpenErr::kFailed;
    }
    std::optional<std::string> stored;
    s = table_->GetMeta(EpochKey(), &stored);
    std::optional<Epoch> epoch = 0;
    if (s.ok() && stored) epoch = DecodeEpoch(*stored);
    if (!s.ok() || !epoch) {
      *message = "the epoch counter is corrupt";
      return OpenErr::kCorrupt;
    }
    commits_ = std::make_unique<CommitThread>(
        *table_, *epoch,
        CommitThread::Options{.max_pending_bytes = options_.max_pending_bytes,
                              .max_cycle_bytes = options_.max_cycle_bytes,
                              .max_record_bytes = options_.max_record_bytes,
                              .write_buffer_bytes = options_.write_buffer_bytes},
        CommitThread::Hooks{.on_synced = [](uint64_t) { return rocksdb::Status::OK(); },
                            .on_trimmed = nullptr});
    pool_ = std::make_unique<TaskPool>(std::max(1, options_.read_threads));
    return OpenErr::kNone;
  }

  void Acquire(LaneId id, Replay replay, Acquired done) {
    auto lane = Lane(id);
    TaskPool::Task task = [this, lane, replay = std::move(replay),
                           done = std::move(done)](bool stopping) mutable {
      std::string why;
      const Err err = stopping ? Err::kUnavailable : LoadLane(*table_, *lane, &why);
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
  std::shared_ptr<LaneState> Lane(LaneId id) {
    std::lock_guard lock(mu_);
    auto& lane = lanes_[id];
    if (!lane) lane = std::make_shared<LaneState>(id);
    return lane;
  }

  void HandOver(const std::shared_ptr<Tenure>& tenure, Position fence, const Replay& replay,
                const Acquired& done, bool stopping) {
    if (stopping) return done(Err::kUnavailable, nullptr);
    std::string why;
    Err err = ReplayLane(*table_, *tenure->lane, fence, replay, &why);
    // Someone else took it while it was replayed; what the replay met is theirs.
    const Err lost = tenure->error.load(std::memory_order_acquire);
    if (lost != Err::kOk) err = lost;
    if (err != Err::kOk) return done(err, nullptr);
    done(Err::kOk, std::make_unique<RocksDbOwner>(*commits_, tenure));
  }

  const RocksDbOptions options_;
  std::unique_ptr<EntryTable> table_;
  std::unique_ptr<CommitThread> commits_;
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
StoreStats RocksDbStore::stats() const { return core_->stats(); }
void RocksDbStore::OnPoisoned(std::function<void(std::string)> f) {
  core_->commits().OnPoisoned(std::move(f));
}

}  // namespace spillway::storage
