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

class Shard;

// What a completion queue's tag points to.
class Tag {
 public:
  virtual ~Tag() = default;
  virtual void Proceed(bool ok) = 0;
  // The shard on whose thread it proceeds; nullptr: that whose queue it came from.
  // Asked on the latter's thread.
  virtual Shard* home() const { return nullptr; }
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

// The shards of one server, and how far they have come in stopping. A call may have
// its operations in the queue of one shard and live on another: no queue may be shut
// down before nobody starts operations, and nobody may leave before all queues are
// empty.
struct Peers {
  std::vector<Shard*> shards;        // constant once the first one runs
  std::atomic<size_t> stopping = 0;  // start no operation from now on
  std::atomic<size_t> drained = 0;   // have handed on all that their queues held
};

// One round: all events that are there → the broker's batch → what it left to
// write. Nothing else touches the broker. Between shards only the tags of calls that
// have moved pass, a round's at a time; with one shard nothing on this path takes a
// lock.
//
// Thread-safety: Wake, Stop, errors and tended may be called on any thread; the rest
// on the thread that calls Run, or before Run.
class Shard {
 public:
  // Joins `peers`. Polls for up to `longest_poll` before it sleeps.
  Shard(Peers* peers, std::unique_ptr<grpc::ServerCompletionQueue> queue, Clock* clock,
        MonoNanos longest_poll);
  ~Shard();

  // Runs until Stop and until no operation of any shard is outstanding; destroys what
  // it tends then.
  void Run(runtime::Broker* broker);
  // Another round soon.
  void Wake();
  // Shuts the queue down once every shard has been told to stop. Call after the
  // server's Shutdown.
  void Stop();
  // Lets `tag` proceed on `to`, after this round's events, in the order of the calls.
  void Hand(Shard* to, Tag* tag, bool ok);

  size_t index() const { return index_; }
  grpc::ServerCompletionQueue* queue() { return queue_.get(); }
  runtime::Broker* broker() { return broker_; }
  const Now& now() const { return now_; }
  // Whether the round's first event had to be waited for: there is no backlog.
  bool calm() const { return calm_; }
  // Whether new operations may be started.
  bool stopping() const { return stopping_; }
  // Looks after `tended` until it is forgotten, and destroys it if it is there when
  // Run ends: by then no operation can come back to it.
  void Tend(Tended* tended);
  size_t tended() const { return tended_count_; }
  // Pumps `tended` after the batch.
  void MarkDirty(Tended* tended);
  void StartTimer(Tended* tended, MonoNanos at);
  // REQUIRED before `tended` is destroyed, or tended elsewhere.
  void Forget(Tended* tended);
  // Called about every `period` on this thread, after a batch.
  void Every(MonoNanos period, std::function<void(const Now&)> f);
  // Called with the time that each round took, which is how late it can be for
  // what came meanwhile.
  void OnRound(std::function<void(MonoNanos)> f) { on_round_ = std::move(f); }
  // Counts an error that a call ended with.
  void CountError(ErrorKind kind) { ++errors_[static_cast<size_t>(kind)]; }
  static constexpr size_t kErrorKinds = static_cast<size_t>(ErrorKind::kInternal) + 1;
  uint64_t errors(size_t kind) const { return errors_[kind]; }

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

  struct Event {
    Tag* tag;
    bool ok;
  };

  void StopIfWanted();
  // The next event, after polling and then sleeping for it.
  grpc::CompletionQueue::NextStatus Next(void** tag, bool* ok);
  // Proceeds, here or where the tag is at home.
  void Handle(Tag* tag, bool ok);
  // Gives the others what this round found for them.
  void HandOver();
  void Take(std::vector<Event>* events);
  // Proceeds with what others gave.
  void ProceedWithTaken();
  // Shuts the queue down as soon as nobody starts operations.
  void CloseIfAllStop();
  MonoNanos NextDue() const;
  void RunTimers();
  void PumpDirty();

  Peers* const peers_;
  const size_t index_;
  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  Clock* const clock_;
  runtime::Broker* broker_ = nullptr;
  Now now_;
  IdlePoll idle_poll_;
  bool calm_ = false;
  bool stopping_ = false;
  std::function<void(MonoNanos)> on_round_;
  std::array<std::atomic<uint64_t>, kErrorKinds> errors_{};
  absl::flat_hash_set<Tended*> tended_;
  std::atomic<size_t> tended_count_ = 0;
  std::vector<Tended*> dirty_;
  std::vector<Tended*> pumping_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  absl::flat_hash_map<uint64_t, Tended*> timers_;
  uint64_t next_timer_ = 1;
  std::vector<Periodic> periodic_;
  std::vector<std::vector<Event>> handing_;  // by the index of who gets them
  std::vector<Event> proceeding_;

  std::mutex taken_mutex_;
  std::vector<Event> taken_;             // guarded by taken_mutex_
  std::atomic<bool> any_taken_ = false;  // written under taken_mutex_

  std::atomic<bool> stop_wanted_{false};
  std::atomic<bool> poked_{false};   // Wake was called
  std::atomic<bool> asleep_{false};  // it may not look at poked_ for long
  WakeTag wake_tag_{this};
  std::mutex wake_mutex_;
  grpc::Alarm alarm_;          // guarded by wake_mutex_
  bool wake_pending_ = false;  // guarded by wake_mutex_; the alarm has not come back
  bool closed_ = false;        // guarded by wake_mutex_; the queue is shut down
};

}  // namespace spillway::service
