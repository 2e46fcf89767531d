#include "broker/storage/caretaker.h"

#include <algorithm>
#include <chrono>
#include <future>

#include "broker/base/clock.h"
#include "broker/base/thread_name.h"

namespace spillway::storage {

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
  auto& known = trimmed_[lane];
  known = std::max(known, upto);
  trimmed_bytes_ += bytes;
  if (trimmed_bytes_ >= options_.reclaim_bytes) wake_.notify_one();
}

void Caretaker::Run() {
  NameThread("caretaker");
  for (;;) {
    commits_.SetDisk(disk_.Check());
    if (!mark_.SyncIfDue(SteadyNanos())) commits_.Poison("the high-water mark was not synced");
    std::map<LaneId, Position> lanes;
    {
      std::unique_lock lock(mu_);
      const auto due = [this] {
        return stopping_ || (trimmed_bytes_ >= options_.reclaim_bytes && !trimmed_.empty());
      };
      wake_.wait_for(lock, std::chrono::milliseconds(options_.interval_ms), due);
      if (stopping_) return;
      if (due()) {
        lanes.swap(trimmed_);
        trimmed_bytes_ = 0;
      }
    }
    lanes = InFiles(lanes);
    if (!lanes.empty()) Reclaim(lanes);
  }
}

// What drained before its memtable was flushed has nothing in files.
std::map<LaneId, Position> Caretaker::InFiles(const std::map<LaneId, Position>& lanes) {
  uint64_t bytes = 0;
  std::map<LaneId, Position> in_files;
  for (const auto& [lane, upto] : lanes) {
    const uint64_t of_lane = table_.FileBytesBelow(lane, upto);
    bytes += of_lane;
    if (of_lane > 0) in_files.emplace(lane, upto);
  }
  if (bytes >= options_.reclaim_bytes) return in_files;
  std::lock_guard lock(mu_);
  for (const auto& [lane, upto] : in_files) {
    auto& known = trimmed_[lane];
    known = std::max(known, upto);
  }
  return {};
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
