// How far a load is: what was acknowledged and received, and who waits for how much
// of it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace spillway::bench {

using Seconds = std::chrono::duration<double>;

// Thread-safe; one thread waits in WaitFor at a time. It is woken once, when it has
// what it waits for, and not by each message.
class Progress {
 public:
  int64_t acked() const { return acked_.load(); }
  int64_t received() const { return received_.load(); }

  void Acked(int64_t n) {
    acked_ += n;
    WakeIfReached();
  }
  void Received(int64_t n) {
    received_ += n;
    WakeIfReached();
  }
  // The first reason is kept.
  void Failed(std::string why) {
    const std::lock_guard lock(mu_);
    if (failed_) return;
    failed_ = true;
    why_ = std::move(why);
    changed_.notify_all();
  }
  // The sender shall end; WaitFor returns at once from now on.
  void Stop() {
    const std::lock_guard lock(mu_);
    stopped_ = true;
    changed_.notify_all();
  }
  bool stopped() const { return stopped_.load(); }

  // Waits until so many were acknowledged and received; false if the sender was
  // stopped, or after `within`. Throws what failed.
  bool WaitFor(int64_t acked, int64_t received, Seconds within, bool stoppable = false) {
    std::unique_lock lock(mu_);
    want_acked_ = acked;
    want_received_ = received;
    waiting_ = true;
    changed_.wait_for(lock, within,
                      [&] { return failed_ || (stoppable && stopped_) || Reached(); });
    waiting_ = false;
    ThrowIfFailed();
    return Reached();
  }
  // Ends early by throwing what failed.
  void Sleep(Seconds time) {
    std::unique_lock lock(mu_);
    changed_.wait_for(lock, time, [&] { return failed_; });
    ThrowIfFailed();
  }
  void Check() {
    const std::lock_guard lock(mu_);
    ThrowIfFailed();
  }

 private:
  bool Reached() const { return acked_ >= want_acked_ && received_ >= want_received_; }
  void WakeIfReached() {
    // Whoever begins to wait sets `waiting_` first and looks at the counts then; those
    // who count do it the other way round, so that one of them sees the other.
    if (!waiting_ || !Reached()) return;
    const std::lock_guard lock(mu_);
    changed_.notify_all();
  }
  void ThrowIfFailed() const {
    if (failed_) throw std::runtime_error(why_);
  }

  std::atomic<int64_t> acked_ = 0;
  std::atomic<int64_t> received_ = 0;
  std::atomic<int64_t> want_acked_ = 0;
  std::atomic<int64_t> want_received_ = 0;
  std::atomic<bool> waiting_ = false;
  std::atomic<bool> stopped_ = false;
  std::mutex mu_;
  std::condition_variable changed_;
  // Guarded by mu_:
  bool failed_ = false;
  std::string why_;
};

}  // namespace spillway::bench
