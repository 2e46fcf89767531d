// What other threads hand to the shard.
#pragma once

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "broker/storage/log_store.h"

namespace spillway::runtime {

// Where completed appends go.
class CompletionTarget {
 public:
  virtual ~CompletionTarget() = default;
  virtual void OnCompleted(storage::Err err, storage::Position position) = 0;
};

// Thread-safe. Everything is run in order by the shard, in Drain; the first thing
// that is pushed into an empty inbox wakes it.
class Inbox {
 public:
  explicit Inbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  void Push(std::function<void()> f) { Add(Item{nullptr, storage::Err::kOk, 0, std::move(f)}); }
  // Without an allocation, because there is one for every batch of records. The
  // target must live until its completion has been drained.
  void Completed(CompletionTarget* target, storage::Err err, storage::Position position) {
    Add(Item{target, err, position, nullptr});
  }
  // Shard thread only. Returns whether there was anything.
  bool Drain() {
    {
      std::lock_guard lock(mutex_);
      draining_.swap(items_);
    }
    if (draining_.empty()) return false;
    for (Item& item : draining_) {
      if (item.target != nullptr) {
        item.target->OnCompleted(item.err, item.position);
      } else {
        item.f();
      }
    }
    draining_.clear();
    return true;
  }

 private:
  struct Item {
    CompletionTarget* target;
    storage::Err err;
    storage::Position position;
    std::function<void()> f;
  };
  void Add(Item item) {
    bool wake = false;
    {
      std::lock_guard lock(mutex_);
      wake = items_.empty();
      items_.push_back(std::move(item));
    }
    if (wake && wake_) wake_();
  }

  const std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<Item> items_;     // guarded by mutex_
  std::vector<Item> draining_;  // shard thread only
};

}  // namespace spillway::runtime
