// The list of queues: a lane of its own in the store.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "broker/runtime/lane_log.h"
#include "broker/runtime/queue_list.h"
#include "broker/storage/log_store.h"

namespace spillway::runtime {

// Changes are durable (fsync) before they are told.
// Thread-safety: its shard's thread only, but for the replay and NextId.
class Catalog final : public QueueList {
 public:
  static constexpr LaneId kLane{0, 0};

  Catalog(storage::LogStore* store, Inbox* inbox);
  ~Catalog() override;

  void Recover(Done done);
  const std::map<uint32_t, QueueEntry>& queues() const { return queues_; }

  uint32_t NextId() override { return next_id_++; }
  void Put(const QueueEntry& entry, Done done) override;
  void Remove(uint32_t id, Done done) override;
  bool idle() const override { return log_.outstanding() == 0; }
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
  std::atomic<uint32_t> next_id_ = 1;
  uint32_t changes_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace spillway::runtime
