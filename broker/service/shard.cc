#include "broker/service/shard.h"

#include <grpc/support/time.h>
#include <sched.h>

#include <algorithm>
#include <utility>

namespace spillway::service {
namespace {

// Events of one round; then the broker runs, whatever else is there.
constexpr int kMaxEvents = 256;
// The longest sleep, so that a lost wake-up heals by itself.
constexpr MonoNanos kLongestWait = 100 * kNanosPerMilli;
// What a look at the queue takes that finds something there.
constexpr MonoNanos kCalm = 10'000;

gpr_timespec Span(MonoNanos nanos) { return gpr_time_from_nanos(nanos, GPR_TIMESPAN); }

}  // namespace

Shard::Shard(std::unique_ptr<grpc::ServerCompletionQueue> queue, Clock* clock,
             MonoNanos longest_poll)
    : queue_(std::move(queue)), clock_(clock), now_(clock->Read()), idle_poll_(longest_poll) {}

Shard::~Shard() = default;

void Shard::Wake() {
  poked_.store(true);
  // Awake, it looks at poked_ before it sleeps: in this order, one of both is seen.
  if (!asleep_.exchange(false)) return;
  const std::lock_guard lock(wake_mutex_);
  if (wake_pending_ || closed_) return;
  wake_pending_ = true;
  alarm_.Set(queue_.get(), gpr_inf_past(GPR_CLOCK_MONOTONIC), &wake_tag_);
}

void Shard::Stop() {
  {
    const std::lock_guard lock(wake_mutex_);
    stop_wanted_ = true;
  }
  Wake();
}

void Shard::WakeTag::Proceed(bool) {
  const std::lock_guard lock(shard_->wake_mutex_);
  shard_->wake_pending_ = false;
}

void Shard::StopIfWanted() {
  const std::lock_guard lock(wake_mutex_);
  if (!stop_wanted_ || closed_) return;
  // From here on nobody starts an operation on the queue: calls look at
  // stopping_ on this thread, wakers at closed_ under the lock.
  closed_ = true;
  stopping_ = true;
  queue_->Shutdown();
}

void Shard::MarkDirty(Tended* tended) {
  if (tended->dirty_) return;
  tended->dirty_ = true;
  dirty_.push_back(tended);
}

void Shard::StartTimer(Tended* tended, MonoNanos at) {
  if (tended->timer_ == 0) {
    tended->timer_ = next_timer_++;
    timers_[tended->timer_] = tended;
  }
  due_.push({.at = at, .id = tended->timer_});
}

void Shard::Forget(Tended* tended) {
  tended_.erase(tended);
  if (tended->timer_ != 0) timers_.erase(tended->timer_);
  if (!tended->dirty_) return;
  std::replace(dirty_.begin(), dirty_.end(), tended, static_cast<Tended*>(nullptr));
  std::replace(pumping_.begin(), pumping_.end(), tended, static_cast<Tended*>(nullptr));
}

void Shard::Every(MonoNanos period, std::function<void(const Now&)> f) {
  periodic_.push_back({.period = period, .due = now_.mono + period, .f = std::move(f)});
}

MonoNanos Shard::NextDue() const {
  MonoNanos next = now_.mono + kLongestWait;
  if (broker_ != nullptr) next = std::min(next, broker_->next_deadline());
  if (!due_.empty()) next = std::min(next, due_.top().at);
  for (const Periodic& periodic : periodic_) next = std::min(next, periodic.due);
  return next;
}

void Shard::RunTimers() {
  while (!due_.empty() && due_.top().at <= now_.mono) {
    const Due due = due_.top();
    due_.pop();
    const auto it = timers_.find(due.id);
    if (it == timers_.end()) continue;
    Tended* tended = it->second;
    const MonoNanos next = tended->OnTimer(now_);
    if (next != INT64_MAX) due_.push({.at = std::max(next, now_.mono + 1), .id = due.id});
  }
}

void Shard::PumpDirty() {
  // Pumping may mark others, and forget some.
  while (!dirty_.empty()) {
    pumping_.swap(dirty_);
    for (size_t i = 0; i < pumping_.size(); ++i) {
      Tended* tended = pumping_[i];
      if (tended == nullptr) continue;
      pumping_[i] = nullptr;
      tended->dirty_ = false;
      tended->Pump();
    }
    pumping_.clear();
  }
}

grpc::CompletionQueue::NextStatus Shard::Next(void** tag, bool* ok) {
  const MonoNanos idle_since = clock_->Read().mono;
  auto status = grpc::CompletionQueue::TIMEOUT;
  now_ = clock_->Read();
  while (status == grpc::CompletionQueue::TIMEOUT && !poked_.load() &&
         now_.mono - idle_since < idle_poll_.span()) {
    // Whoever else wants the core gets it.
    sched_yield();
    status = queue_->AsyncNext(tag, ok, gpr_inf_past(GPR_CLOCK_MONOTONIC));
    now_ = clock_->Read();
  }
  if (status == grpc::CompletionQueue::TIMEOUT) {
    asleep_.store(true);
    const MonoNanos wait = poked_.load() ? 0 : std::max<MonoNanos>(0, NextDue() - now_.mono);
    status = queue_->AsyncNext(tag, ok, Span(wait));
    asleep_.store(false);
    now_ = clock_->Read();
  }
  const MonoNanos waited = now_.mono - idle_since;
  idle_poll_.Waited(waited);
  calm_ = waited > kCalm;
  return status;
}

void Shard::Run(runtime::Broker* broker) {
  broker_ = broker;
  now_ = clock_->Read();
  broker_->Start(now_);
  while (true) {
    void* tag = nullptr;
    bool ok = false;
    auto status = Next(&tag, &ok);
    if (poked_.exchange(false)) StopIfWanted();
    broker_->SetNow(now_);
    for (int events = 0; status == grpc::CompletionQueue::GOT_EVENT; ++events) {
      static_cast<Tag*>(tag)->Proceed(ok);
      if (events == kMaxEvents) break;
      status = queue_->AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC));
    }
    RunTimers();
    broker_->RunBatch(now_);
    PumpDirty();
    for (Periodic& periodic : periodic_) {
      if (now_.mono < periodic.due) continue;
      periodic.due = now_.mono + periodic.period;
      periodic.f(now_);
    }
    if (on_round_) on_round_(clock_->Read().mono - now_.mono);
    if (status == grpc::CompletionQueue::SHUTDOWN) break;
  }
  while (!tended_.empty()) delete *tended_.begin();  // forgets itself
}

}  // namespace spillway::service
