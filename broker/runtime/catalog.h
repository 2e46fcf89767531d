// The list of queues: a lane of its own in the store.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "broker/base/error.h"
#include "broker/queue/tuning.h"
#include "broker/runtime/lane_log.h"
#include "broker/storage/log_store.h"

namespace spillway::runtime {

struct QueueEntry {
  uint32_t id = 0;
  std::string name;
  uint64_t revision = 1;
  queue::Tuning tuning;
};

// Changes are durable (fsync) before they are told.
// Thread-safety: shard thread only, but for the replay.
class Catalog {
 public:
  static constexpr LaneId kLane{0, 0};

  Catalog(storage::LogStore* store, Inbox* inbox);
  ~Catalog();

  using Done = std::function<void(std::optional<Error>)>;
  void Recover(Done done);
  const std::map<uint32_t, QueueEntry>& queues() const { return queues_; }

  // A new id, never used before.
  uint32_t NextId() { return next_id_++; }
  void Put(const QueueEntry& entry, Done done);
  void Remove(uint32_t id, Done done);
  bool idle() const { return log_.outstanding() == 0; }
  void Release() { log_.Release(); }

 private:
  struct State {
    std::map<uint32_t, QueueEntry> queues;
    uint32_t next_id = 1;
    bool Apply(const storage::Entry& entry);
  };
  void MaybeSnapshot();

  storage::LogStore* const store_;
  Inbox* const inbox_;
  LaneLog log_;
  std::map<uint32_t, QueueEntry> queues_;
  uint32_t next_id_ = 1;
  uint32_t changes_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace spillway::runtime
