#include "broker/storage/caretaker.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "broker/base/clock.h"
#include "broker/base/thread_name.h"

namespace spillway::storage {
namespace {

// A look asks for each lane that was trimmed, and there may be ten thousand: it may take
// a hundredth of the time.
constexpr MonoNanos kRest = 100;

}  // namespace

Caretaker::Caretaker(Options options, EntryTable& table, CommitThread& commits, HighWaterMark& mark,
                     DiskWatch disk)
    : options_(options),
      table_(table),
      commits_(commits),
      mark_(mark),
      disk_(std::move(disk)),
      thread_([this] { Run(); }) {}

void Caretaker::Stop() {
  {
    std::lock_guard lock(mu_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (!thread_.joinable()) return;
  table_.StopReclaim();
  thread_.join();
}

void Caretaker::Trimmed(LaneId lane, Position upto, uint64_t bytes) {
  std::lock_guard lock(mu_);
  Remember(lane, upto);
  trimmed_bytes_ += bytes;
  if (MayReclaim()) wake_.notify_one();
}

void Caretaker::Remember(LaneId lane, Position upto) {
  auto& known = trimmed_[lane];
  known = std::max(known, upto);
}

void Caretaker::Flushed() {
  std::lock_guard lock(mu_);
  flushed_ = true;
  if (MayReclaim()) wake_.notify_one();
}

// A flush writes what another memtable says is deleted: who trimmed last would else
// leave that in files for as long as nobody trims again.
bool Caretaker::MayReclaim() const {
  return !trimmed_.empty() &&
         (trimmed_bytes_ >= options_.reclaim_bytes || (awaits_flush_ && flushed_)) &&
         SteadyNanos() >= not_before_;
}

void Caretaker::Run() {
  NameThread("caretaker");
  for (;;) {
    commits_.SetDisk(disk_.Check());
    if (!mark_.SyncIfDue(SteadyNanos())) commits_.Poison("the high-water mark was not synced");
    std::map<LaneId, Position> lanes;
    {
      std::unique_lock lock(mu_);
      const bool due = wake_.wait_for(lock, std::chrono::milliseconds(options_.interval_ms),
                                      [this] { return stopping_ || MayReclaim(); });
      if (stopping_) return;
      if (due) {
        lanes.swap(trimmed_);
        trimmed_bytes_ = 0;
        awaits_flush_ = flushed_ = false;
      }
    }
    lanes = InFiles(lanes);
    if (!lanes.empty()) Reclaim(lanes);
  }
}

// What drained before its memtable was flushed reaches no file, and is forgotten then.
std::map<LaneId, Position> Caretaker::InFiles(const std::map<LaneId, Position>& lanes) {
  const MonoNanos began = SteadyNanos();
  uint64_t bytes = 0;
  std::map<LaneId, Position> in_files, left;
  for (const auto& [lane, upto] : lanes) {
    // Memtables first: what is flushed in between is seen twice, and not missed.
    if (table_.MemtableBytesBelow(lane, upto) > 0) left.emplace(lane, upto);
    const uint64_t of_lane = table_.FileBytesBelow(lane, upto);
    bytes += of_lane;
    if (of_lane > 0) in_files.emplace(lane, upto);
  }
  const bool awaits_flush = !left.empty();
  if (bytes < options_.reclaim_bytes) {
    left.merge(in_files);
    in_files.clear();
  }
  std::lock_guard lock(mu_);
  for (const auto& [lane, upto] : left) Remember(lane, upto);
  awaits_flush_ |= awaits_flush;
  const MonoNanos now = SteadyNanos();
  not_before_ = now + (now - began) * kRest;
  return in_files;
}

void Caretaker::Reclaim(const std::map<LaneId, Position>& lanes) {
  std::promise<Err> swept;
  commits_.Sweep([&swept](Err err, Position) { swept.set_value(err); });
  if (swept.get_future().get() != Err::kOk) return;
  // Files are gone at once: not before the snapshots that stand for what was in them
  // outlive the machine. Here, where nobody waits for it.
  if (const rocksdb::Status s = table_.Sync(); !s.ok()) {
    return commits_.Poison("sync failed: " + s.ToString());
  }
  for (const auto& [lane, upto] : lanes) {
    {
      std::lock_guard lock(mu_);
      if (stopping_) return;
    }
    // A failure is told by the listener; an interruption does no harm.
    table_.Reclaim(lane, upto).PermitUncheckedError();
  }
}

}  // namespace spillway::storage
