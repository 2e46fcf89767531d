#include "clients/cpp/spillway/internal/io_loop.h"

#include <grpcpp/alarm.h>

#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace spillway::client::internal {

// Shared with the thread, which may outlive the loop by a moment.
struct IoLoop::State final : IoLoop::Tag {
  grpc::CompletionQueue queue;
  std::thread thread;
  std::mutex mu;
  std::map<std::pair<Clock::time_point, TimerId>, std::function<void()>> timers;
  std::map<TimerId, Clock::time_point> times;
  TimerId last_id = 0;
  bool stopping = false;
  bool waking = false;
  grpc::Alarm alarm;

  void Complete(bool /*ok*/) override {
    const std::lock_guard lock(mu);
    waking = false;
  }
  // REQUIRES: mu.
  void Wake() {
    if (waking) return;
    waking = true;
    alarm.Set(&queue, gpr_now(GPR_CLOCK_REALTIME), static_cast<Tag*>(this));
  }
  // Runs what is due; returns when the next timer is.
  Clock::time_point RunTimers() {
    std::unique_lock lock(mu);
    for (;;) {
      if (timers.empty()) return Clock::now() + std::chrono::hours(1);
      const auto first = timers.begin();
      if (first->first.first > Clock::now()) return first->first.first;
      const std::function<void()> what = std::move(first->second);
      times.erase(first->first.second);
      timers.erase(first);
      lock.unlock();
      what();
      lock.lock();
    }
  }
};

namespace {

gpr_timespec In(Clock::duration d) {
  return gpr_time_add(
      gpr_now(GPR_CLOCK_REALTIME),
      gpr_time_from_nanos(std::chrono::duration_cast<std::chrono::nanoseconds>(d).count(),
                          GPR_TIMESPAN));
}

}  // namespace

IoLoop::IoLoop() : state_(std::make_shared<State>()) {
  state_->thread = std::thread([state = state_] {
    bool stopped = false;
    for (;;) {
      const Clock::time_point next = state->RunTimers();
      void* tag = nullptr;
      bool ok = false;
      switch (state->queue.AsyncNext(&tag, &ok, In(next - Clock::now()))) {
        case grpc::CompletionQueue::GOT_EVENT:
          static_cast<Tag*>(tag)->Complete(ok);
          break;
        case grpc::CompletionQueue::SHUTDOWN:
          return;
        case grpc::CompletionQueue::TIMEOUT:
          break;
      }
      if (!stopped) {
        const std::lock_guard lock(state->mu);
        if (state->stopping && !state->waking) {
          stopped = true;
          state->queue.Shutdown();
        }
      }
    }
  });
}

IoLoop::~IoLoop() {
  {
    const std::lock_guard lock(state_->mu);
    state_->stopping = true;
    state_->timers.clear();
    state_->times.clear();
    state_->Wake();
  }
  if (OnThread()) {
    state_->thread.detach();
  } else {
    state_->thread.join();
  }
}

grpc::CompletionQueue* IoLoop::queue() { return &state_->queue; }

IoLoop::TimerId IoLoop::At(Clock::time_point when, std::function<void()> what) {
  const std::lock_guard lock(state_->mu);
  const TimerId id = ++state_->last_id;
  if (state_->stopping) return id;
  const auto it = state_->timers.emplace(std::pair(when, id), std::move(what)).first;
  state_->times.emplace(id, when);
  if (it == state_->timers.begin() && !OnThread()) state_->Wake();
  return id;
}

void IoLoop::Cancel(TimerId id) {
  const std::lock_guard lock(state_->mu);
  const auto it = state_->times.find(id);
  if (it == state_->times.end()) return;
  state_->timers.erase({it->second, id});
  state_->times.erase(it);
}

bool IoLoop::OnThread() const { return std::this_thread::get_id() == state_->thread.get_id(); }

}  // namespace spillway::client::internal
