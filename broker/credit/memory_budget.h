// The process's memory for records, shared by all queues.
//
//   window   what lanes hold and have promised to producers
//   catch_up batches read back from disk for groups and readers that lag
//   frames   deliveries on their way to streams, and frames being read
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace spillway::credit {

// Counts what the pools hold. A Share is what one user of a pool holds; it gives
// all back exactly once, when it is destroyed.
//
// Invariants: used_bytes() is the sum over pools, and each pool's over its shares, as
// soon as no Set is under way; headroom_bytes() more of every thread leave
// used_bytes() within 95 % of the limit, if they are taken before others are;
// TryReserve never goes beyond that.
// Units: bytes. Thread-safety: yes, but a Share is one thread's. The counts order
// nothing else, so all of them are relaxed.
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

  // `threads` promise memory at the same time.
  explicit MemoryBudget(uint64_t limit_bytes, uint32_t threads = 1)
      : limit_bytes_(limit_bytes), threads_(threads) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  ~MemoryBudget() { assert(used_bytes() == 0); }

  uint64_t limit_bytes() const { return limit_bytes_; }
  uint64_t used_bytes() const { return used_bytes_.load(kRelaxed); }
  uint64_t used_bytes(Pool pool) const { return pools_[static_cast<size_t>(pool)].load(kRelaxed); }
  uint64_t high_water_bytes() const { return high_water_bytes_.load(kRelaxed); }
  Level level() const { return level_.load(kRelaxed); }

  // What one thread may still promise: its part, since none knows what the others are
  // about to. From 70 % on it is what is left to 95 %, times a
  // factor that falls linearly from 1 to 0 there, so that many queues slow down
  // before all of them stop. A function of what is used alone: it is continuous,
  // so it cannot flap, and what was stopped goes on with the first byte returned.
  uint64_t headroom_bytes() const {
    const uint64_t stop = Percent(kStopPercent);
    const uint64_t warn = Percent(kWarnPercent);
    const uint64_t used = used_bytes();
    if (used >= stop) return 0;
    const uint64_t left = stop - used;
    if (used <= warn) return left / threads_;
    return static_cast<uint64_t>(static_cast<double>(left) *
                                 (static_cast<double>(left) / static_cast<double>(stop - warn))) /
           threads_;
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
      if (bytes != bytes_) budget_->Move(pool_, bytes_, bytes);
      bytes_ = bytes;
    }
    uint64_t bytes() const { return bytes_; }

   private:
    friend class MemoryBudget;
    MemoryBudget* budget_;
    Pool pool_;
    uint64_t bytes_ = 0;
  };

  // A share of this much, if it keeps the process below 95 %.
  [[nodiscard]] std::optional<Share> TryReserve(Pool pool, uint64_t bytes) {
    const uint64_t stop = Percent(kStopPercent);
    uint64_t used = used_bytes();
    do {
      if (used > stop || bytes > stop - used) return std::nullopt;
    } while (!used_bytes_.compare_exchange_weak(used, used + bytes, kRelaxed));
    pools_[static_cast<size_t>(pool)].fetch_add(bytes, kRelaxed);
    Used(used + bytes);
    Share share(this, pool);
    share.bytes_ = bytes;
    return share;
  }

 private:
  uint64_t Percent(uint64_t percent) const {
    return limit_bytes_ / 100 * percent + limit_bytes_ % 100 * percent / 100;
  }

  // Differences wrap around, and so do the sums.
  void Move(Pool pool, uint64_t from, uint64_t to) {
    pools_[static_cast<size_t>(pool)].fetch_add(to - from, kRelaxed);
    Used(used_bytes_.fetch_add(to - from, kRelaxed) + (to - from));
  }

  void Used(uint64_t used) {
    uint64_t high = high_water_bytes();
    while (used > high && !high_water_bytes_.compare_exchange_weak(high, used, kRelaxed)) {
    }
    const Level before = level();
    const Level now = NextLevel(before, used);
    // Of two threads that meet here one may leave the level of a moment ago; whoever
    // moves next mends it.
    if (now != before) level_.store(now, kRelaxed);
  }

  // The highest level that is entered, or not left yet.
  Level NextLevel(Level before, uint64_t used) const {
    constexpr std::array<uint64_t, 3> kEnter = {kWarnPercent, kDegradePercent, kStopPercent};
    for (size_t i = kEnter.size(); i > 0; --i) {
      const auto level = static_cast<Level>(i);
      const uint64_t points = before >= level ? kHysteresisPoints : 0;
      if (used > 0 && used >= Percent(kEnter[i - 1] - points)) return level;
    }
    return Level::kNormal;
  }

  static constexpr auto kRelaxed = std::memory_order_relaxed;

  const uint64_t limit_bytes_;
  const uint32_t threads_;
  std::atomic<uint64_t> used_bytes_ = 0;
  std::atomic<uint64_t> high_water_bytes_ = 0;
  std::array<std::atomic<uint64_t>, kPools> pools_{};
  std::atomic<Level> level_ = Level::kNormal;
};

}  // namespace spillway::credit
