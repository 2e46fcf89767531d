// The process's memory for records, shared by all queues.
//
//   window   what lanes hold and have promised to producers
//   catch_up batches read back from disk for groups and readers that lag
//   frames   deliveries on their way to streams, and frames being read
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace spillway::credit {

// Counts what the pools hold. A Share is what one user of a pool holds; it gives
// all back exactly once, when it is destroyed.
//
// Invariants: used_bytes() is the sum over pools, and each pool's over its shares;
// headroom_bytes() more leave used_bytes() within 95 % of the limit.
// Units: bytes. Thread-safety: none (one per shard).
class MemoryBudget {
 public:
  enum class Pool : uint8_t { kWindow, kCatchUp, kFrames };
  static constexpr size_t kPools = 3;

  // What to do about memory, from these shares of the limit on. A level is left 10
  // points below where it is entered.
  enum class Level : uint8_t {
    kNormal,
    kWarn,     // 70 %: grants shrink
    kDegrade,  // 85 %: new data goes to disk, what can be evicted is
    kStop,     // 95 %: no grants
  };
  static constexpr uint64_t kWarnPercent = 70;
  static constexpr uint64_t kDegradePercent = 85;
  static constexpr uint64_t kStopPercent = 95;
  static constexpr uint64_t kHysteresisPoints = 10;

  explicit MemoryBudget(uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  ~MemoryBudget() { assert(used_bytes_ == 0); }

  uint64_t limit_bytes() const { return limit_bytes_; }
  uint64_t used_bytes() const { return used_bytes_; }
  uint64_t used_bytes(Pool pool) const { return pools_[static_cast<size_t>(pool)]; }
  uint64_t high_water_bytes() const { return high_water_bytes_; }
  Level level() const { return level_; }

  // What may still be promised. From 70 % on it is what is left to 95 %, times a
  // factor that falls linearly from 1 to 0 there, so that many queues slow down
  // before all of them stop. A function of what is used alone: it is continuous,
  // so it cannot flap, and what was stopped goes on with the first byte returned.
  uint64_t headroom_bytes() const {
    const uint64_t stop = Percent(kStopPercent);
    const uint64_t warn = Percent(kWarnPercent);
    if (used_bytes_ >= stop) return 0;
    const uint64_t left = stop - used_bytes_;
    if (used_bytes_ <= warn) return left;
    return static_cast<uint64_t>(static_cast<double>(left) *
                                 (static_cast<double>(left) / static_cast<double>(stop - warn)));
  }

  class Share {
   public:
    explicit Share(MemoryBudget* budget, Pool pool = Pool::kWindow)
        : budget_(budget), pool_(pool) {}
    Share(Share&& o) noexcept
        : budget_(std::exchange(o.budget_, nullptr)),
          pool_(o.pool_),
          bytes_(std::exchange(o.bytes_, 0)) {}
    Share& operator=(Share&& o) noexcept {
      if (this != &o) {
        Set(0);
        budget_ = std::exchange(o.budget_, nullptr);
        pool_ = o.pool_;
        bytes_ = std::exchange(o.bytes_, 0);
      }
      return *this;
    }
    ~Share() { Set(0); }
    // Holds this much from now on. Never refused: what was granted, or has been
    // read, is held; so ask first (headroom_bytes, TryReserve).
    void Set(uint64_t bytes) {
      if (budget_ == nullptr) return;
      budget_->Move(pool_, bytes_, bytes);
      bytes_ = bytes;
    }
    uint64_t bytes() const { return bytes_; }

   private:
    MemoryBudget* budget_;
    Pool pool_;
    uint64_t bytes_ = 0;
  };

  // A share of this much, if it keeps the process below 95 %.
  [[nodiscard]] std::optional<Share> TryReserve(Pool pool, uint64_t bytes) {
    const uint64_t stop = Percent(kStopPercent);
    if (used_bytes_ > stop || bytes > stop - used_bytes_) return std::nullopt;
    Share share(this, pool);
    share.Set(bytes);
    return share;
  }

 private:
  uint64_t Percent(uint64_t percent) const {
    return limit_bytes_ / 100 * percent + limit_bytes_ % 100 * percent / 100;
  }

  void Move(Pool pool, uint64_t from, uint64_t to) {
    used_bytes_ = used_bytes_ - from + to;
    uint64_t& held = pools_[static_cast<size_t>(pool)];
    held = held - from + to;
    high_water_bytes_ = std::max(high_water_bytes_, used_bytes_);
    level_ = NextLevel();
  }

  // The highest level that is entered, or not left yet.
  Level NextLevel() const {
    constexpr std::array<uint64_t, 3> kEnter = {kWarnPercent, kDegradePercent, kStopPercent};
    for (size_t i = kEnter.size(); i > 0; --i) {
      const auto level = static_cast<Level>(i);
      const uint64_t points = level_ >= level ? kHysteresisPoints : 0;
      if (used_bytes_ > 0 && used_bytes_ >= Percent(kEnter[i - 1] - points)) return level;
    }
    return Level::kNormal;
  }

  const uint64_t limit_bytes_;
  uint64_t used_bytes_ = 0;
  uint64_t high_water_bytes_ = 0;
  std::array<uint64_t, kPools> pools_{};
  Level level_ = Level::kNormal;
};

}  // namespace spillway::credit
