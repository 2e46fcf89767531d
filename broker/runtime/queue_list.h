// The list of queues as the shards use it. One of them keeps it; the others ask that
// one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "broker/base/error.h"
#include "broker/queue/tuning.h"
#include "broker/runtime/inbox.h"

namespace spillway::runtime {

struct QueueEntry {
  uint32_t id = 0;
  std::string name;
  uint64_t revision = 1;
  queue::Tuning tuning;
};

// What one shard puts and removes happens in this order. `done` runs on that shard
// once it is durable.
// Thread-safety: one shard's thread, but for NextId.
class QueueList {
 public:
  using Done = std::function<void(std::optional<Error>)>;
  virtual ~QueueList() = default;
  // A new id, never used before. Thread-safe.
  virtual uint32_t NextId() = 0;
  virtual void Put(const QueueEntry& entry, Done done) = 0;
  virtual void Remove(uint32_t id, Done done) = 0;
  // Nothing is on its way.
  virtual bool idle() const = 0;
};

// The list that another shard keeps: through that shard's inbox and back through this
// one's. Changes of queues are rare, so this may cost two hops. What is to be done then
// stays here, since it may hold what only this thread may let go.
class DistantQueueList final : public QueueList {
 public:
  DistantQueueList(QueueList* list, Inbox* there, Inbox* here)
      : list_(list), there_(there), here_(here) {}

  uint32_t NextId() override { return list_->NextId(); }
  void Put(const QueueEntry& entry, Done done) override {
    const uint64_t number = Wait(std::move(done));
    there_->Push([this, entry, number] { list_->Put(entry, AnswerTo(number)); });
  }
  void Remove(uint32_t id, Done done) override {
    const uint64_t number = Wait(std::move(done));
    there_->Push([this, id, number] { list_->Remove(id, AnswerTo(number)); });
  }
  bool idle() const override { return waiting_.empty(); }

 private:
  uint64_t Wait(Done done) {
    waiting_.emplace(++last_number_, std::move(done));
    return last_number_;
  }
  // Made and called on the other shard.
  Done AnswerTo(uint64_t number) {
    return [this, number](std::optional<Error> error) {
      here_->Push([this, number, error = std::move(error)] {
        const auto waiting = waiting_.extract(number);
        waiting.mapped()(error);
      });
    };
  }

  QueueList* const list_;
  Inbox* const there_;
  Inbox* const here_;
  std::unordered_map<uint64_t, Done> waiting_;
  uint64_t last_number_ = 0;
};

}  // namespace spillway::runtime
