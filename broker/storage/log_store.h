// The log of lanes: one contract for the embedded store and for a replicated
// engine. Every implementation passes the contract (log_store_contract.h).
//
// Words: a *position* is the store's place of an entry: rising within a lane,
// opaque, not dense, not the offset. An *epoch* fences: each Acquire gets a
// higher one, and an entry is valid only if its epoch equals the highest fence
// before it.
//
// Must not be assumed: atomicity across lanes, arithmetic on positions, reading
// before completion, absence after kUnknown, cheap or local reads, that a lost
// owner hears of it in bounded time, that Trim frees space now, any clock.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/histogram.h"
#include "broker/base/types.h"
#include "broker/wire/buffer.h"

namespace spillway::storage {

using Position = uint64_t;  // 0 is before every entry.
using Epoch = uint64_t;     // 0 is none.

enum class Err : uint8_t {
  kOk,
  kFenced,         // another owner took the lane over
  kUnknown,        // the outcome is not known; acquire again, the replay decides
  kOverloaded,     // no effect; room() says what would be taken
  kTooLarge,       // no effect; larger than capabilities().max_record_bytes
  kTrimmed,        // below the trim point
  kUnavailable,    // no effect; may recover
  kCorrupt,        // a torn or corrupt entry; never skipped
  kMisconfigured,  // the engine cannot keep the contract
};
std::string_view ErrName(Err err);

enum class Kind : uint8_t { kFence = 1, kData = 2, kControl = 3, kSnapshot = 4 };

// What a completed append survives, weakest first. Told to operators and named
// in confirmations.
enum class Level : uint8_t { kProcess = 1, kFsync = 2, kQuorumMemory = 3, kQuorumFsync = 4 };

// What an owner appends. `body` is a list of parts so that a batch is written
// without being put together first; a reader gets them back as one.
struct Record {
  Kind kind = Kind::kData;
  Offset base_offset = 0;            // kData: of the first record
  uint32_t count = 0;                // kData: records in the body
  std::array<wire::Slice, 3> parts;  // unused ones are empty
  size_t body_bytes() const { return size_t{parts[0].length} + parts[1].length + parts[2].length; }
};

struct Entry {
  Position position = 0;
  Epoch epoch = 0;
  Kind kind = Kind::kData;
  Offset base_offset = 0;
  uint32_t count = 0;
  wire::Buffer body;
};

// Called exactly once, in the order of the appends of its lane, never inside the
// call that it completes, on a thread of the store or in EndRound. Must not block.
using Completion = std::function<void(Err, Position)>;

// The exclusive writer of one lane. Destroying it gives up the lane; completions
// of accepted appends still arrive. Thread-safety: one thread at a time.
class Owner {
 public:
  virtual ~Owner() = default;
  virtual Epoch epoch() const = 0;
  // Appends; never blocks. kOk as the return value means accepted: `done` will
  // be called. Any other value (kOverloaded, kTooLarge, kFenced, kUnavailable
  // after poisoning) means no effect, and `done` is not called. A completion with
  // kOk is durable at `level` and valid for every later Acquire. After the first
  // completion that is not kOk all later ones carry the same error.
  virtual Err Append(const Record& record, Level level, Completion done) = 0;
  // Bytes that Append would take now.
  virtual size_t room() const = 0;
  // Calls `f` once, on a thread of the store, when room() has grown back.
  virtual void OnDrain(std::function<void()> f) = 0;
  // kOk: still the owner at some moment after the call; follows all appends
  // accepted before.
  virtual void Barrier(Completion done) = 0;
  // Entries below `upto` are no longer needed (a hint, later, in whole pieces).
  // Legal once what replaces them (a snapshot) has completed, at whatever level: a
  // failure that takes back what has completed gives back what was trimmed after it.
  // Never removes a snapshot or control entry at or above the last completed snapshot.
  virtual void Trim(Position upto, Completion done) = 0;
  // Calls `f` once when the ownership is known to be lost.
  virtual void OnLost(std::function<void()> f) = 0;
};

struct Capabilities {
  size_t max_record_bytes = 0;
  Level level = Level::kFsync;  // the strongest that Append can reach
  bool remote = false;
  bool ownership_moves = false;
};

// Numbers for operators.
struct StoreStats {
  uint64_t commits_total = 0;
  uint64_t syncs_total = 0;
  uint64_t appended_bytes_total = 0;
  uint64_t live_bytes = 0;     // an estimate of what the store takes on disk
  uint64_t pending_bytes = 0;  // accepted and not completed
  MonoNanos last_sync_nanos = 0;
  // Of commits that wait for the device, and what each commit wrote.
  Histogram sync_seconds{kSecondsBounds};
  Histogram commit_records{kCountBounds};
};

// Thread-safe.
class LogStore {
 public:
  virtual ~LogStore() = default;
  virtual Capabilities capabilities() const = 0;

  // Called with every valid entry of the lane from its last valid snapshot on
  // (or from the start), in order. Returning false stops the acquire with
  // kCorrupt.
  using Replay = std::function<bool(const Entry&)>;
  using Acquired = std::function<void(Err, std::unique_ptr<Owner>)>;
  // Fences the lane, replays, and hands it over. Anyone may steal a lane that is
  // owned. `replay` and `done` are called on a thread of the store.
  virtual void Acquire(LaneId lane, Replay replay, Acquired done) = 0;

  using ReadDone = std::function<void(Err, std::vector<Entry>, Position next)>;
  // Valid kData entries at or after `from`, in order, until `max_bytes` of bodies
  // (at least one entry if there is one). `next` is where to go on; it equals
  // `from` when there is nothing yet. Completed appends are visible.
  virtual void Read(LaneId lane, Position from, size_t max_bytes, ReadDone done) = 0;

  // Advice that this process should or should not own a lane; late, doubled or
  // wrong is legal. An embedded store never calls it.
  virtual void Watch(std::function<void(LaneId, bool should_own)> f) = 0;

  // Removes every entry of a lane for good. REQUIRES: no owner.
  virtual void Remove(LaneId lane, Completion done) = 0;

  // Around all that a thread appends in one go: what is appended between the two may
  // wait for EndRound. That may commit on the calling thread, and complete there what
  // is pending of any lane, if `may_wait`: nobody but the lane that has appended would
  // wait for the disk then. Rounds of several threads may overlap.
  virtual void BeginRound() {}
  virtual void EndRound(bool /*may_wait*/) {}

  virtual StoreStats stats() const = 0;
  // Called once, on a thread of the store, when the store failed for good
  // (a failed sync, a background error): every append from then on fails.
  virtual void OnPoisoned(std::function<void(std::string why)> f) = 0;
};

}  // namespace spillway::storage
