#include "broker/service/shard.h"

#include <grpc/support/time.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace spillway::service {
namespace {

// Events of one round; then the broker runs, whatever else is there.
constexpr int kMaxEvents = 256;
// The longest sleep, so that a lost wake-up heals by itself.
constexpr MonoNanos kLongestWait = 100 * kNanosPerMilli;
// The same once nobody can wake this thread through its queue.
constexpr MonoNanos kLongestWaitAtTheEnd = kNanosPerMilli;
// What a look at the queue takes that finds something there.
constexpr MonoNanos kCalm = 10'000;

gpr_timespec Span(MonoNanos nanos) { return gpr_time_from_nanos(nanos, GPR_TIMESPAN); }

}  // namespace

Shard::Shard(Peers* peers, std::unique_ptr<grpc::ServerCompletionQueue> queue, Clock* clock,
             MonoNanos longest_poll)
    : peers_(peers),
      index_(peers->shards.size()),
      queue_(std::move(queue)),
      clock_(clock),
      now_(clock->Read()),
      idle_poll_(longest_poll) {
  peers_->shards.push_back(this);
}

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
  stop_wanted_ = true;
  Wake();
}

void Shard::WakeTag::Proceed(bool) {
  const std::lock_guard lock(shard_->wake_mutex_);
  shard_->wake_pending_ = false;
}

void Shard::StopIfWanted() {
  if (!stop_wanted_ || stopping_) return;
  // From here on no call of this shard starts an operation, on any queue: calls look
  // at stopping_ on this thread.
  stopping_ = true;
  if (++peers_->stopping < peers_->shards.size()) return;
  for (Shard* peer : peers_->shards) peer->Wake();
}

void Shard::CloseIfAllStop() {
  if (!stopping_ || peers_->stopping < peers_->shards.size()) return;
  const std::lock_guard lock(wake_mutex_);
  // Wakers look at closed_ under the lock.
  if (!std::exchange(closed_, true)) queue_->Shutdown();
}

void Shard::Tend(Tended* tended) {
  tended_.insert(tended);
  tended_count_.store(tended_.size(), std::memory_order_relaxed);
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
  tended_count_.store(tended_.size(), std::memory_order_relaxed);
  if (tended->timer_ != 0) timers_.erase(std::exchange(tended->timer_, 0));
  if (!std::exchange(tended->dirty_, false)) return;
  std::replace(dirty_.begin(), dirty_.end(), tended, static_cast<Tended*>(nullptr));
  std::replace(pumping_.begin(), pumping_.end(), tended, static_cast<Tended*>(nullptr));
}

void Shard::Every(MonoNanos period, std::function<void(const Now&)> f) {
  periodic_.push_back({.period = period, .due = now_.mono + period, .f = std::move(f)});
}

MonoNanos Shard::NextDue() const {
  MonoNanos next = now_.mono + (stopping_ ? kLongestWaitAtTheEnd : kLongestWait);
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
  auto status = grpc::CompletionQueue::TIMEOUT;
  now_ = clock_->Read();
  const MonoNanos idle_since = now_.mono;
  while (status == grpc::CompletionQueue::TIMEOUT && !poked_.load() &&
         now_.mono - idle_since < idle_poll_.span()) {
    idle_poll_.Yield();
    status = queue_->AsyncNext(tag, ok, gpr_inf_past(GPR_CLOCK_MONOTONIC));
    now_ = clock_->Read();
  }
  if (status == grpc::CompletionQueue::TIMEOUT) {
    asleep_.store(true);
    // gRPC rounds a wait up to whole milliseconds, one of none, too.
    const MonoNanos wait = poked_.load() ? 0 : NextDue() - now_.mono;
    status = queue_->AsyncNext(tag, ok, wait > 0 ? Span(wait) : gpr_inf_past(GPR_CLOCK_MONOTONIC));
    asleep_.store(false);
    now_ = clock_->Read();
  }
  const MonoNanos waited = now_.mono - idle_since;
  idle_poll_.Waited(waited, SteadyNanos());
  calm_ = waited > kCalm;
  return status;
}

void Shard::Handle(Tag* tag, bool ok) {
  Shard* home = tag->home();
  if (home == nullptr || home == this) {
    tag->Proceed(ok);
  } else {
    Hand(home, tag, ok);
  }
}

void Shard::Hand(Shard* to, Tag* tag, bool ok) {
  handing_[to->index_].push_back({.tag = tag, .ok = ok});
}

void Shard::HandOver() {
  for (size_t i = 0; i < handing_.size(); ++i) {
    if (!handing_[i].empty()) peers_->shards[i]->Take(&handing_[i]);
  }
}

void Shard::Take(std::vector<Event>* events) {
  {
    const std::lock_guard lock(taken_mutex_);
    taken_.insert(taken_.end(), events->begin(), events->end());
    any_taken_.store(true, std::memory_order_relaxed);
  }
  events->clear();
  Wake();
}

void Shard::ProceedWithTaken() {
  if (!any_taken_.load(std::memory_order_relaxed)) return;
  {
    const std::lock_guard lock(taken_mutex_);
    proceeding_.swap(taken_);
    any_taken_.store(false, std::memory_order_relaxed);
  }
  for (const Event& event : proceeding_) event.tag->Proceed(event.ok);
  proceeding_.clear();
}

void Shard::Run(runtime::Broker* broker) {
  broker_ = broker;
  handing_.resize(peers_->shards.size());
  now_ = clock_->Read();
  broker_->Start(now_);
  while (true) {
    void* tag = nullptr;
    bool ok = false;
    auto status = Next(&tag, &ok);
    if (poked_.exchange(false)) StopIfWanted();
    broker_->SetNow(now_);
    for (int events = 0; status == grpc::CompletionQueue::GOT_EVENT; ++events) {
      Handle(static_cast<Tag*>(tag), ok);
      if (events == kMaxEvents) break;
      status = queue_->AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC));
    }
    HandOver();
    ProceedWithTaken();
    RunTimers();
    broker_->RunBatch(now_);
    PumpDirty();
    broker_->EndBatch();
    for (Periodic& periodic : periodic_) {
      if (now_.mono < periodic.due) continue;
      periodic.due = now_.mono + periodic.period;
      periodic.f(now_);
    }
    if (on_round_) on_round_(clock_->Read().mono - now_.mono);
    if (status == grpc::CompletionQueue::SHUTDOWN) break;
    CloseIfAllStop();
  }
  // Others may still find operations of calls that live here. Nobody can wake this
  // thread any more, but this is soon over.
  for (++peers_->drained; peers_->drained < peers_->shards.size();) {
    ProceedWithTaken();
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  ProceedWithTaken();
  while (!tended_.empty()) delete *tended_.begin();  // forgets itself
}

}  // namespace spillway::service
