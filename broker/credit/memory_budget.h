// The process's memory for records, shared by all queues.
#pragma once

#include <cassert>
#include <cstdint>
#include <utility>

namespace spillway::credit {

// Counts what lanes hold and have promised. Thread-safety: none (one per shard).
class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  ~MemoryBudget() { assert(used_bytes_ == 0); }

  uint64_t limit_bytes() const { return limit_bytes_; }
  uint64_t used_bytes() const { return used_bytes_; }
  // What may still be promised. From 70 % on it shrinks faster than what is left,
  // to nothing at 95 %, so that many queues slow down before all of them stop.
  uint64_t headroom_bytes() const {
    const uint64_t stop = limit_bytes_ / 100 * 95;
    const uint64_t warn = limit_bytes_ / 100 * 70;
    if (used_bytes_ >= stop) return 0;
    const uint64_t left = stop - used_bytes_;
    if (used_bytes_ <= warn || stop == warn) return left;
    return static_cast<uint64_t>(static_cast<double>(left) * static_cast<double>(left) /
                                 static_cast<double>(stop - warn));
  }

  // One lane's part; returned when it is destroyed.
  class Share {
   public:
    explicit Share(MemoryBudget* budget) : budget_(budget) {}
    Share(Share&& o) noexcept
        : budget_(std::exchange(o.budget_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
    Share& operator=(Share&&) = delete;
    ~Share() { Set(0); }
    void Set(uint64_t bytes) {
      if (budget_ == nullptr) return;
      budget_->used_bytes_ += bytes - bytes_;
      bytes_ = bytes;
    }
    uint64_t bytes() const { return bytes_; }

   private:
    MemoryBudget* budget_;
    uint64_t bytes_ = 0;
  };

 private:
  const uint64_t limit_bytes_;
  uint64_t used_bytes_ = 0;
};

}  // namespace spillway::credit
