// The thread of a shard: it polls gRPC, runs the broker, and writes.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "broker/base/clock.h"
#include "broker/base/error.h"
#include "broker/base/idle_poll.h"
#include "broker/base/types.h"
#include "broker/runtime/broker.h"

namespace spillway::service {

// What a completion queue's tag points to.
class Tag {
 public:
  virtual ~Tag() = default;
  virtual void Proceed(bool ok) = 0;
};

// What is looked after by a shard's thread: writes after a batch, and timers.
class Tended {
 public:
  virtual ~Tended() = default;
  virtual void Pump() = 0;
  // Returns when to be called again; INT64_MAX: never.
  virtual MonoNanos OnTimer(const Now& now) = 0;

 private:
  friend class Shard;
  bool dirty_ = false;
  uint64_t timer_ = 0;  // 0: none
};

// One round: all events that are there → the broker's batch → what it left to
// write. Nothing else touches the broker, so nothing on this path takes a lock.
//
// Thread-safety: Wake and Stop may be called on any thread; the rest on the
// thread that calls Run, or before Run.
class Shard {
 public:
  // Polls for up to `longest_poll` before it sleeps.
  Shard(std::unique_ptr<grpc::ServerCompletionQueue> queue, Clock* clock, MonoNanos longest_poll);
  ~Shard();

  // Runs until Stop and until no operation is outstanding; destroys what it tends then.
  void Run(runtime::Broker* broker);
  // Another round soon.
  void Wake();
  // Shuts the queue down in the next round. Call after the server's Shutdown.
  void Stop();

  grpc::ServerCompletionQueue* queue() { return queue_.get(); }
  runtime::Broker* broker() { return broker_; }
  const Now& now() const { return now_; }
  // Whether the round's first event had to be waited for: there is no backlog.
  bool calm() const { return calm_; }
  // Whether new operations may be started.
  bool stopping() const { return stopping_; }
  // Looks after `tended` until it is forgotten, and destroys it if it is there when
  // Run ends: by then no operation can come back to it.
  void Tend(Tended* tended) { tended_.insert(tended); }
  size_t tended() const { return tended_.size(); }
  // Pumps `tended` after the batch.
  void MarkDirty(Tended* tended);
  void StartTimer(Tended* tended, MonoNanos at);
  // REQUIRED before `tended` is destroyed.
  void Forget(Tended* tended);
  // Called about every `period` on this thread, after a batch.
  void Every(MonoNanos period, std::function<void(const Now&)> f);
  // Called with the time that each round took, which is how late it can be for
  // what came meanwhile.
  void OnRound(std::function<void(MonoNanos)> f) { on_round_ = std::move(f); }
  // Counts an error that a call ended with.
  void CountError(ErrorKind kind) { ++errors_[static_cast<size_t>(kind)]; }
  using ErrorCounts = std::array<uint64_t, static_cast<size_t>(ErrorKind::kInternal) + 1>;
  const ErrorCounts& errors() const { return errors_; }

 private:
  struct Periodic {
    MonoNanos period;
    MonoNanos due;
    std::function<void(const Now&)> f;
  };
  struct Due {
    MonoNanos at;
    uint64_t id;
    bool operator>(const Due& o) const { return at > o.at; }
  };
  class WakeTag : public Tag {
   public:
    explicit WakeTag(Shard* shard) : shard_(shard) {}
    void Proceed(bool ok) override;

   private:
    Shard* const shard_;
  };

  void StopIfWanted();
  // The next event, after polling and then sleeping for it.
  grpc::CompletionQueue::NextStatus Next(void** tag, bool* ok);
  MonoNanos NextDue() const;
  void RunTimers();
  void PumpDirty();

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  Clock* const clock_;
  runtime::Broker* broker_ = nullptr;
  Now now_;
  IdlePoll idle_poll_;
  bool calm_ = false;
  bool stopping_ = false;
  std::function<void(MonoNanos)> on_round_;
  ErrorCounts errors_{};
  absl::flat_hash_set<Tended*> tended_;
  std::vector<Tended*> dirty_;
  std::vector<Tended*> pumping_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  absl::flat_hash_map<uint64_t, Tended*> timers_;
  uint64_t next_timer_ = 1;
  std::vector<Periodic> periodic_;

  std::atomic<bool> poked_{false};   // Wake was called
  std::atomic<bool> asleep_{false};  // it may not look at poked_ for long
  WakeTag wake_tag_{this};
  std::mutex wake_mutex_;
  grpc::Alarm alarm_;          // guarded by wake_mutex_
  bool wake_pending_ = false;  // guarded by wake_mutex_; the alarm has not come back
  bool stop_wanted_ = false;   // guarded by wake_mutex_
  bool closed_ = false;        // guarded by wake_mutex_; the queue is shut down
};

}  // namespace spillway::service
