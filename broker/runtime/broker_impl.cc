#include "broker/runtime/broker_impl.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/base/ids.h"
#include "broker/runtime/handles.h"
#include "broker/runtime/tuning_codec.h"

namespace spillway::runtime {
namespace {

constexpr MonoNanos kCheckHealthEvery = 100 * kNanosPerMilli;
// A lane that was the only one for so long may have this thread wait for the disk.
constexpr MonoNanos kAlone = 100 * kNanosPerMilli;

}  // namespace

void BrokerImpl::MarkDirty(LaneActor* lane) {
  if (lane != active_ && !lane->spilling()) {
    active_ = lane;
    alone_since_ = now.mono;
  }
  AddDirty(lane);
}

void BrokerImpl::AddDirty(LaneActor* lane) {
  if (lane->dirty) return;
  lane->dirty = true;
  dirty_.push_back(lane);
}

void BrokerImpl::Poison(const std::string& why) {
  if (poisoned_) return;
  poisoned_ =
      Error{.kind = ErrorKind::kStoreFailed, .message = absl::StrCat("the store failed: ", why)};
  health_.Fail(why, now.mono);
  OnHealth();
  for (const auto& [name, lane] : lanes_) lane->Fail(*poisoned_);
}

void BrokerImpl::RunBatch(const Now& at) {
  now = at;
  store->BeginRound();
  CheckHealth();
  inbox_.Drain();
  RunTimers();
  flushing_.swap(dirty_);
  for (LaneActor* lane : flushing_) lane->dirty = false;
  for (LaneActor* lane : flushing_) {
    lane->Flush();
    StartTimer(lane);
  }
  flushing_.clear();
  AdvanceDrain();
  std::erase_if(leaving_, [this](const std::unique_ptr<LaneActor>& lane) {
    if (!lane->idle() || lane->dirty) return false;
    StopTimer(lane.get());
    storing_.erase(lane.get());
    return true;
  });
}

void BrokerImpl::Storing(LaneActor* lane) {
  storing_.insert(lane);
  awaited_ =
      awaited_ || (lane->core().tuning().durability != Durability::kMemory && !lane->spilling());
}

// What nobody waits for, as cursors, is better written by a thread of the store.
void BrokerImpl::EndBatch() {
  store->EndRound(std::exchange(awaited_, false) && now.mono - alone_since_ > kAlone);
}

// What a lane waits for changes in its flush only: whatever else touches it marks it
// dirty. A time that has become later is found out when it is there.
void BrokerImpl::StartTimer(LaneActor* lane) {
  const MonoNanos at = lane->next_deadline();
  if (at >= lane->timer) return;
  StopTimer(lane);
  lane->timer = at;
  timers_.emplace(at, lane);
}

void BrokerImpl::StopTimer(LaneActor* lane) {
  timers_.erase({lane->timer, lane});
  lane->timer = std::numeric_limits<MonoNanos>::max();
}

void BrokerImpl::RunTimers() {
  while (!timers_.empty() && timers_.begin()->first <= now.mono) {
    LaneActor* lane = timers_.begin()->second;
    StopTimer(lane);
    if (lane->next_deadline() <= now.mono) {
      AddDirty(lane);
    } else {
      StartTimer(lane);
    }
  }
}

MonoNanos BrokerImpl::next_deadline() const {
  if (!dirty_.empty()) return now.mono;
  const MonoNanos at = std::min(now.mono + 1'000 * kNanosPerMilli, drain_.next_deadline());
  return timers_.empty() ? at : std::min(at, timers_.begin()->first);
}

void BrokerImpl::CheckHealth() {
  if (now.mono - health_checked_at_ < kCheckHealthEvery) return;
  health_checked_at_ = now.mono;
  if (options_.disk_space) {
    const auto [free_bytes, total_bytes] = options_.disk_space();
    disk_free_bytes_ = free_bytes;
    health_.DiskSpace(free_bytes, total_bytes, now.mono);
  }
  MonoNanos oldest = 0;
  absl::erase_if(storing_, [&](const LaneActor* lane) {
    const auto since = lane->oldest_append();
    if (since) oldest = std::max(oldest, now.mono - *since);
    return !since;
  });
  health_.Waiting(oldest, now.mono);
  OnHealth();
}

void BrokerImpl::OnHealth() {
  using State = failure::StoreHealth::State;
  using Grants = failure::StoreHealth::Grants;
  credit::Reason why = credit::Reason::kNone;
  if (health_.state() == State::kFailed) {
    why = credit::Reason::kStoreFailed;
  } else if (draining()) {
    why = credit::Reason::kDraining;
  } else if (health_.state() == State::kDiskLow) {
    why = credit::Reason::kDiskLow;
  } else if (health_.grants() == Grants::kNone) {
    why = credit::Reason::kDiskSlow;
  }
  const bool half = health_.grants() == Grants::kHalf;
  const bool takes = health_.takes_records();
  if (why == stop && half == slow && takes == store_takes_records) return;
  stop = why;
  slow = half;
  store_takes_records = takes;
  for (const auto& [name, lane] : lanes_) MarkDirty(lane.get());
}

std::optional<Error> BrokerImpl::Refusal() const {
  if (poisoned_) return poisoned_;
  if (!ready_) {
    return Error{.kind = ErrorKind::kUnavailable,
                 .message = "the broker is still recovering its queues",
                 .retry_after_ms = 200};
  }
  return std::nullopt;
}

Result<LaneActor*> BrokerImpl::FindLane(const std::string& name, const std::string& field) {
  if (auto refusal = Refusal()) return *refusal;
  if (!IsValidName(name)) {
    return InvalidArgument(field, "a queue's name is [A-Za-z0-9._-]{1,255}, without a leading dot");
  }
  auto it = lanes_.find(name);
  if (it == lanes_.end()) {
    return Error{.kind = ErrorKind::kNotFound,
                 .message = absl::StrCat("there is no queue ", name, "; create it first"),
                 .queue = name,
                 .field = field};
  }
  LaneActor* lane = it->second.get();
  if (lane->failure()) return *lane->failure();
  if (!lane->ready()) {
    return Error{.kind = ErrorKind::kUnavailable,
                 .message = absl::StrCat("queue ", name, " is being created"),
                 .queue = name,
                 .retry_after_ms = 100};
  }
  return lane;
}

void BrokerImpl::Create(const std::string& name, const pb::QueueTuning& request, Created done) {
  if (auto refusal = Refusal()) return done(*refusal);
  if (draining()) {
    return done(Error{.kind = ErrorKind::kUnavailable,
                      .message = "the broker is draining",
                      .retry_after_ms = 1'000});
  }
  if (!IsValidName(name)) {
    return done(
        InvalidArgument("name", "a queue's name is [A-Za-z0-9._-]{1,255}, without a leading dot"));
  }
  if (lanes_.contains(name)) {
    return done(Error{.kind = ErrorKind::kAlreadyExists,
                      .message = absl::StrCat("queue ", name, " exists already"),
                      .queue = name,
                      .field = "name"});
  }
  auto tuning = ApplyTuning(DefaultTuning(), request, true);
  if (!tuning) return done(tuning.error());
  if (!CountOneMore(shared_->queues, options_.max_queues)) {
    return done(Error{.kind = ErrorKind::kLimitReached,
                      .message = absl::StrCat("the broker has its most queues, ",
                                              options_.max_queues, "; delete one first"),
                      .limit = options_.max_queues});
  }
  const QueueEntry entry{queues_->NextId(), name, 1, *tuning};
  auto created = std::make_unique<LaneActor>(LaneId{entry.id, 0}, name, 1, *tuning, this);
  LaneActor* lane = created.get();
  lanes_.emplace(name, std::move(created));
  creating_[name].push_back(std::move(done));
  queues_->Put(entry, [this, lane, name](std::optional<Error> error) {
    if (error) {
      lanes_.erase(name);
      --shared_->queues;
      return FinishCreate(name, std::move(*error));
    }
    lane->Recover([this, lane, name](std::optional<Error> failed) {
      if (failed) return FinishCreate(name, std::move(*failed));
      FinishCreate(name, lane);
    });
  });
}

void BrokerImpl::FinishCreate(const std::string& name, const Result<LaneActor*>& lane) {
  const auto waiting = creating_.extract(name);
  for (const Created& done : waiting.mapped()) done(lane);
}

void BrokerImpl::LaneForOpen(const std::string& name, Created done) {
  if (draining()) {
    return done(Error{.kind = ErrorKind::kUnavailable,
                      .message = "the broker is draining",
                      .queue = name,
                      .retry_after_ms = 1'000});
  }
  const auto creating = creating_.find(name);
  if (creating != creating_.end()) {
    creating->second.push_back(std::move(done));
    return;
  }
  auto lane = FindLane(name, "open.queue");
  if (lane || lane.error().kind != ErrorKind::kNotFound || !options_.auto_create) {
    return done(std::move(lane));
  }
  Create(name, {}, std::move(done));
}

namespace {

// Tells a stream that never reached a lane why.
template <typename StreamType>
void Refuse(Inbox& inbox, const std::shared_ptr<StreamType>& stream, Error error) {
  inbox.Push([stream, error = std::move(error)] {
    if (stream->sink != nullptr) std::exchange(stream->sink, nullptr)->OnClosed(error);
  });
}

Error SessionsUsedUp(uint64_t limit) {
  return {.kind = ErrorKind::kLimitReached,
          .message = absl::StrCat("the broker has its most sessions, ", limit),
          .limit = limit,
          .retry_after_ms = 1'000};
}

}  // namespace

std::unique_ptr<Publisher> BrokerImpl::OpenPublisher(const PublisherOpen& open,
                                                     PublisherSink* sink) {
  // The registry lets go of the stream with its last owner.
  auto stream = std::shared_ptr<PublisherStream>(new PublisherStream, [this](PublisherStream* s) {
    streams_.Remove(s->id);
    delete s;
  });
  stream->id = MakeId("s", random_);
  stream->client = open.client;
  stream->peer = open.peer;
  stream->queue = open.queue;
  stream->opened_at = now.unix_ms;
  stream->sink = sink;
  stream->producer_id = std::make_shared<const std::string>(
      open.producer_id.empty() ? MakeId("p", random_) : open.producer_id);
  auto handle = std::make_unique<PublisherHandle>(stream);
  if (!IsValidName(*stream->producer_id)) {
    Refuse(inbox_, stream,
           InvalidArgument("open.producer_id",
                           "a producer's id is [A-Za-z0-9._-]{1,255}, without a leading dot"));
    return handle;
  }
  if (!streams_.Add(stream)) {
    Refuse(inbox_, stream, SessionsUsedUp(options_.max_sessions));
    return handle;
  }
  LaneForOpen(open.queue, [this, stream, resume = open.resume_sequence](Result<LaneActor*> lane) {
    if (stream->sink == nullptr) return;
    if (!lane) return Refuse(inbox_, stream, lane.error());
    (*lane)->publishers().Open(stream, resume);
  });
  return handle;
}

std::unique_ptr<Consumer> BrokerImpl::OpenConsumer(const ConsumerOpen& open, ConsumerSink* sink) {
  auto stream =
      std::shared_ptr<ConsumerStream>(new ConsumerStream(Credit{}), [this](ConsumerStream* s) {
        streams_.Remove(s->id);
        delete s;
      });
  stream->id = MakeId("s", random_);
  stream->client = open.request.client();
  stream->peer = open.peer;
  stream->queue = open.request.queue();
  stream->opened_at = now.unix_ms;
  stream->sink = sink;
  auto handle = std::make_unique<ConsumerHandle>(stream);
  if (!streams_.Add(stream)) {
    Refuse(inbox_, stream, SessionsUsedUp(options_.max_sessions));
    return handle;
  }
  LaneForOpen(open.request.queue(),
              [this, stream, request = open.request](Result<LaneActor*> lane) {
                if (stream->sink == nullptr) return;
                if (!lane) return Refuse(inbox_, stream, lane.error());
                (*lane)->consumers().Open(stream, request);
              });
  return handle;
}

}  // namespace spillway::runtime
