#include "broker/storage/memory_store.h"

#include <algorithm>
#include <cstring>

namespace spillway::storage {
namespace {

constexpr size_t kOpOverheadBytes = 128;

wire::Buffer Join(const Record& record) {
  wire::Buffer out = wire::Buffer::Allocate(record.body_bytes());
  size_t at = 0;
  for (const wire::Slice& part : record.parts) {
    if (part.length == 0) continue;
    std::memcpy(out.mutable_data() + at, part.view().data(), part.length);
    at += part.length;
  }
  return out;
}

}  // namespace

class MemoryStore::OwnerImpl final : public Owner {
 public:
  OwnerImpl(MemoryStore& store, std::shared_ptr<Tenure> tenure)
      : store_(store), tenure_(std::move(tenure)) {}
  ~OwnerImpl() override {
    std::lock_guard lock(store_.mu_);
    tenure_->on_lost = nullptr;
  }
  Epoch epoch() const override { return tenure_->epoch; }
  Err Append(const Record& record, Level level, Completion done) override {
    return store_.Append(tenure_, record, level, std::move(done));
  }
  size_t room() const override { return store_.room(); }
  void OnDrain(std::function<void()> f) override { store_.OnDrain(std::move(f)); }
  void Barrier(Completion done) override { store_.Barrier(tenure_, std::move(done)); }
  void Trim(Position upto, Completion done) override {
    store_.Trim(tenure_, upto, std::move(done));
  }
  void OnLost(std::function<void()> f) override { store_.OnLost(tenure_, std::move(f)); }

 private:
  MemoryStore& store_;
  const std::shared_ptr<Tenure> tenure_;
};

MemoryStore::MemoryStore(MemoryOptions options) : options_(options), random_(options.seed) {
  if (options_.manual) return;
  thread_ = std::thread([this] {
    for (;;) {
      {
        std::unique_lock lock(mu_);
        wake_.wait(lock, [this] { return stopping_ || !work_.empty(); });
        if (work_.empty()) return;
      }
      RunOne();
    }
  });
}

MemoryStore::~MemoryStore() {
  {
    std::lock_guard lock(mu_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void MemoryStore::Post(LaneId lane, std::function<void()> run) {
  std::lock_guard lock(mu_);
  PostLocked(lane, std::move(run));
}
void MemoryStore::PostLocked(LaneId lane, std::function<void()> run) {
  work_.push_back({lane, std::move(run)});
  if (!options_.manual) wake_.notify_one();
}

bool MemoryStore::RunOne() {
  Work next;
  {
    std::lock_guard lock(mu_);
    if (work_.empty()) return false;
    auto it = work_.begin();
    if (options_.seed != 0) {
      // A lane by chance, and the first that waits of it.
      const LaneId lane = work_[random_.Below(work_.size())].lane;
      it = std::find_if(it, work_.end(), [&](const Work& w) { return w.lane == lane; });
    }
    next = std::move(*it);
    work_.erase(it);
  }
  next.run();
  return true;
}

size_t MemoryStore::RunAll() {
  size_t n = 0;
  while (RunOne()) ++n;
  return n;
}

size_t MemoryStore::waiting() const {
  std::lock_guard lock(mu_);
  return work_.size();
}
size_t MemoryStore::unsynced() const {
  std::lock_guard lock(mu_);
  return unsynced_.size();
}

std::unique_ptr<MemoryStore> MemoryStore::CrashClone(Level level, size_t unsynced_kept) const {
  auto clone = std::make_unique<MemoryStore>(options_);
  std::lock_guard lock(mu_);
  std::lock_guard clone_lock(clone->mu_);
  MemoryImage image = level == Level::kProcess ? live_ : synced_;
  if (level != Level::kProcess) {
    for (size_t i = 0; i < std::min(unsynced_kept, unsynced_.size()); ++i) {
      image.Apply(unsynced_[i]);
    }
  }
  clone->live_ = image;
  // What survived the kill of a process is still not synced, but recovery syncs.
  clone->synced_ = std::move(image);
  return clone;
}

void MemoryStore::Poison(std::string why) {
  std::lock_guard lock(mu_);
  if (poisoned_) return;
  poisoned_ = true;
  poison_reason_ = std::move(why);
  for (auto& f : poison_waiters_) {
    PostLocked({}, [f = std::move(f), why = poison_reason_] { f(why); });
  }
  poison_waiters_.clear();
}

void MemoryStore::OnPoisoned(std::function<void(std::string)> f) {
  std::lock_guard lock(mu_);
  if (poisoned_) {
    PostLocked({}, [f = std::move(f), why = poison_reason_] { f(why); });
  } else {
    poison_waiters_.push_back(std::move(f));
  }
}

// REQUIRES: mu_ is held.
void MemoryStore::Write(MemoryChange change, bool sync) {
  ++stats_.commits_total;
  live_.Apply(change);
  unsynced_.push_back(std::move(change));
  if (!sync) return;
  ++stats_.syncs_total;
  for (const MemoryChange& c : unsynced_) synced_.Apply(c);
  unsynced_.clear();
}

// REQUIRES: mu_ is held.
void MemoryStore::LoseLocked(LaneId lane) {
  auto it = owners_.find(lane);
  if (it == owners_.end()) return;
  Tenure& old = *it->second;
  if (old.error == Err::kOk) old.error = Err::kFenced;
  if (old.on_lost) PostLocked(lane, std::exchange(old.on_lost, nullptr));
  owners_.erase(it);
}

Capabilities MemoryStore::capabilities() const {
  return {.max_record_bytes = options_.max_record_bytes, .level = Level::kFsync};
}

void MemoryStore::Acquire(LaneId id, Replay replay, Acquired done) {
  Post(id, [this, id, replay = std::move(replay), done = std::move(done)] {
    auto tenure = std::make_shared<Tenure>();
    std::vector<Entry> entries;
    {
      std::unique_lock lock(mu_);
      if (poisoned_) {
        lock.unlock();
        return done(Err::kUnavailable, nullptr);
      }
      LoseLocked(id);
      tenure->lane = id;
      tenure->epoch = live_.last_epoch + 1;
      const Position fence = live_.lanes[id].next;
      Write({.type = MemoryChange::Type::kFence,
             .lane = id,
             .entry = {.position = fence, .epoch = tenure->epoch, .kind = Kind::kFence}},
            true);
      owners_[id] = tenure;
      const MemoryLane& lane = live_.lanes[id];
      const Position from = lane.snapshot;
      for (const auto* family : {&lane.data, &lane.control}) {
        for (auto it = family->lower_bound(from); it != family->end(); ++it) {
          if (lane.IsValid(it->first, it->second.epoch)) entries.push_back(it->second);
        }
      }
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.position < b.position; });
    for (const Entry& e : entries) {
      if (!replay(e)) return done(Err::kCorrupt, nullptr);
    }
    done(Err::kOk, std::make_unique<OwnerImpl>(*this, tenure));
  });
}

void MemoryStore::Read(LaneId id, Position from, size_t max_bytes, ReadDone done) {
  Post(id, [this, id, from, max_bytes, done = std::move(done)] {
    std::vector<Entry> entries;
    Position next = from;
    Err err = Err::kOk;
    {
      std::lock_guard lock(mu_);
      auto found = live_.lanes.find(id);
      if (found != live_.lanes.end() && from < found->second.trimmed) {
        err = Err::kTrimmed;
        next = found->second.trimmed;
      } else if (found != live_.lanes.end()) {
        const MemoryLane& lane = found->second;
        size_t bytes = 0;
        for (auto it = lane.data.lower_bound(from); it != lane.data.end(); ++it) {
          if (!entries.empty() && bytes + it->second.body.size() > max_bytes) break;
          next = it->first + 1;
          if (!lane.IsValid(it->first, it->second.epoch)) continue;
          bytes += it->second.body.size();
          entries.push_back(it->second);
        }
      }
    }
    done(err, std::move(entries), next);
  });
}

void MemoryStore::Watch(std::function<void(LaneId, bool)>) {}

void MemoryStore::Remove(LaneId id, Completion done) {
  Post(id, [this, id, done = std::move(done)] {
    Err err = Err::kOk;
    {
      std::lock_guard lock(mu_);
      if (poisoned_) {
        err = Err::kUnavailable;
      } else {
        LoseLocked(id);
        Write({.type = MemoryChange::Type::kRemove, .lane = id}, true);
      }
    }
    done(err, 0);
  });
}

Err MemoryStore::Append(const std::shared_ptr<Tenure>& tenure, const Record& record, Level level,
                        Completion done) {
  if (level > Level::kFsync || record.kind == Kind::kFence) return Err::kMisconfigured;
  const size_t bytes = record.body_bytes();
  if (bytes > options_.max_record_bytes) return Err::kTooLarge;
  const size_t charge = bytes + kOpOverheadBytes;
  appended_ = true;
  MemoryChange change{.type = MemoryChange::Type::kEntry,
                      .lane = tenure->lane,
                      .entry = {.epoch = tenure->epoch,
                                .kind = record.kind,
                                .base_offset = record.base_offset,
                                .count = record.count,
                                .body = Join(record)}};
  std::lock_guard lock(mu_);
  if (poisoned_) return Err::kUnavailable;
  if (tenure->error != Err::kOk) {
    return tenure->error == Err::kFenced ? Err::kFenced : Err::kUnavailable;
  }
  if (stats_.pending_bytes > 0 && stats_.pending_bytes + charge > options_.max_pending_bytes) {
    return Err::kOverloaded;
  }
  stats_.pending_bytes += charge;
  PostLocked(tenure->lane, [this, tenure, level, charge, bytes, change = std::move(change),
                            done = std::move(done)]() mutable {
    Err err;
    Position position = 0;
    {
      std::lock_guard lock(mu_);
      stats_.pending_bytes -= charge;
      if (poisoned_ && tenure->error == Err::kOk) tenure->error = Err::kUnknown;
      err = tenure->error;
      if (err == Err::kOk) {
        position = change.entry.position = live_.lanes[tenure->lane].next;
        stats_.appended_bytes_total += bytes;
        Write(std::move(change), level == Level::kFsync);
      }
    }
    done(err, position);
    Drained();
  });
  return Err::kOk;
}

void MemoryStore::Barrier(const std::shared_ptr<Tenure>& tenure, Completion done) {
  Post(tenure->lane, [this, tenure, done = std::move(done)] {
    Err err;
    {
      std::lock_guard lock(mu_);
      if (poisoned_ && tenure->error == Err::kOk) tenure->error = Err::kUnknown;
      err = tenure->error;
    }
    done(err, 0);
  });
}

void MemoryStore::Trim(const std::shared_ptr<Tenure>& tenure, Position upto, Completion done) {
  Post(tenure->lane, [this, tenure, upto, done = std::move(done)] {
    Err err;
    {
      std::lock_guard lock(mu_);
      if (poisoned_ && tenure->error == Err::kOk) tenure->error = Err::kUnknown;
      err = tenure->error;
      if (err == Err::kOk) {
        Write(
            {.type = MemoryChange::Type::kTrim, .lane = tenure->lane, .entry = {.position = upto}},
            false);
      }
    }
    done(err, upto);
  });
}

void MemoryStore::OnLost(const std::shared_ptr<Tenure>& tenure, std::function<void()> f) {
  std::lock_guard lock(mu_);
  if (tenure->error != Err::kOk) {
    PostLocked(tenure->lane, std::move(f));
  } else {
    tenure->on_lost = std::move(f);
  }
}

void MemoryStore::OnDrain(std::function<void()> f) {
  {
    std::lock_guard lock(mu_);
    drain_waiters_.push_back(std::move(f));
  }
  Drained();
}

size_t MemoryStore::room() const {
  std::lock_guard lock(mu_);
  if (poisoned_ || stats_.pending_bytes >= options_.max_pending_bytes) return 0;
  return options_.max_pending_bytes - stats_.pending_bytes;
}

void MemoryStore::Drained() {
  std::lock_guard lock(mu_);
  if (stats_.pending_bytes > options_.max_pending_bytes / 2) return;
  for (auto& f : drain_waiters_) PostLocked({}, std::move(f));
  drain_waiters_.clear();
}

StoreStats MemoryStore::stats() const {
  std::lock_guard lock(mu_);
  StoreStats s = stats_;
  for (const auto& [id, lane] : live_.lanes) {
    for (const auto* family : {&lane.data, &lane.control}) {
      for (const auto& [position, entry] : *family) s.live_bytes += entry.body.size();
    }
  }
  return s;
}

}  // namespace spillway::storage
