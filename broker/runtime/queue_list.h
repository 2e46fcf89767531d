// The list of queues as the shards use it. One of them keeps it; the others ask that
// one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
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
// one's. Changes of queues are rare, so this may cost two hops.
class DistantQueueList final : public QueueList {
 public:
  DistantQueueList(QueueList* list, Inbox* there, Inbox* here)
      : list_(list), there_(there), here_(here) {}

  uint32_t NextId() override { return list_->NextId(); }
  void Put(const QueueEntry& entry, Done done) override {
    Ask([this, entry](Done answer) { list_->Put(entry, std::move(answer)); }, std::move(done));
  }
  void Remove(uint32_t id, Done done) override {
    Ask([this, id](Done answer) { list_->Remove(id, std::move(answer)); }, std::move(done));
  }
  bool idle() const override { return asked_ == 0; }

 private:
  void Ask(std::function<void(Done)> what, Done done) {
    ++asked_;
    Done answer = [this, done = std::move(done)](std::optional<Error> error) {
      here_->Push([this, done, error = std::move(error)] {
        --asked_;
        done(error);
      });
    };
    there_->Push([what = std::move(what), answer = std::move(answer)]() mutable {
      what(std::move(answer));
    });
  }

  QueueList* const list_;
  Inbox* const there_;
  Inbox* const here_;
  size_t asked_ = 0;
};

}  // namespace spillway::runtime
