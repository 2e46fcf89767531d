#include "broker/runtime/broker_impl.h"

#include <algorithm>
#include <limits>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/base/ids.h"
#include "broker/runtime/handles.h"
#include "broker/runtime/shard_of.h"
#include "broker/runtime/tuning_codec.h"

namespace spillway::runtime {
namespace {

constexpr MonoNanos kCheckHealthEvery = 100 * kNanosPerMilli;

}  // namespace

std::unique_ptr<Broker> Broker::Create(BrokerOptions options) {
  auto wake = [wake = options.wake](size_t) {
    if (wake) wake();
  };
  return std::move(CreateShards(std::move(options), 1, std::move(wake)).front());
}

std::vector<std::unique_ptr<Broker>> Broker::CreateShards(BrokerOptions options, size_t shards,
                                                          std::function<void(size_t)> wake) {
  const auto shared = std::make_shared<Shared>(options.memory_budget_bytes, shards);
  const uint64_t seed = options.seed;
  std::vector<std::unique_ptr<Broker>> brokers;
  for (size_t i = 0; i < shards; ++i) {
    options.wake = [wake, i] { wake(i); };
    // Ids must not be made twice.
    options.seed = seed ^ (i * 0xd1b54a32d192ed03);
    brokers.push_back(std::make_unique<BrokerImpl>(options, shared));
  }
  return brokers;
}

BrokerImpl::BrokerImpl(BrokerOptions options, std::shared_ptr<Shared> shared)
    : options_(std::move(options)),
      shared_(std::move(shared)),
      inbox_(options_.wake),
      random_(options_.seed),
      streams_(&shared_->sessions, options_.max_sessions) {
  store = options_.store;
  inbox = &inbox_;
  budget = &shared_->budget;
  policy = &policy_;
  random = &random_;
  streams = &streams_;
  if (shared_->shards.empty()) {
    auto catalog = std::make_unique<Catalog>(store, &inbox_);
    catalog_ = catalog.get();
    queues_ = std::move(catalog);
  } else {
    BrokerImpl* first = shared_->shards.front();
    queues_ = std::make_unique<DistantQueueList>(first->catalog_, &first->inbox_, &inbox_);
  }
  shared_->shards.push_back(this);
}

BrokerImpl::~BrokerImpl() {
  // The store holds on to lanes until what is on its way has completed, and so do
  // other shards; the store's threads are alive, so this ends.
  while (true) {
    bool idle = true;
    bool moved = false;
    for (BrokerImpl* shard : shared_->shards) {
      moved = shard->inbox_.Drain() || moved;
      idle = shard->idle() && idle;
    }
    if (idle && !moved) break;
    if (!moved) std::this_thread::yield();
  }
  std::erase(shared_->shards, this);
}

bool BrokerImpl::idle() const {
  return queues_->idle() &&
         std::all_of(lanes_.begin(), lanes_.end(), [](auto& l) { return l.second->idle(); }) &&
         std::all_of(leaving_.begin(), leaving_.end(), [](auto& l) { return l->idle(); });
}

void BrokerImpl::MarkDirty(LaneActor* lane) {
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

void BrokerImpl::Start(const Now& at) {
  now = at;
  started_at_ = at.mono;
  if (catalog_ == nullptr) return;  // the first shard hands the queues out
  store->OnPoisoned([this](const std::string& why) {
    for (BrokerImpl* shard : shared_->shards) {
      shard->inbox_.Push([shard, why] { shard->Poison(why); });
    }
  });
  catalog_->Recover([this](const std::optional<Error>& error) {
    const size_t shards = shared_->shards.size();
    std::vector<std::vector<QueueEntry>> queues(shards);
    for (const auto& [id, entry] : catalog_->queues()) {
      queues[ShardOf(entry.name, shards)].push_back(entry);
    }
    shared_->queues = static_cast<uint32_t>(catalog_->queues().size());
    for (size_t i = 0; i < shards; ++i) {
      BrokerImpl* shard = shared_->shards[i];
      auto restore = [shard, error, mine = std::move(queues[i])] {
        if (error) {
          shard->poisoned_ = error;
        } else {
          shard->Restore(mine);
        }
      };
      if (shard == this) {
        restore();
      } else {
        shard->inbox_.Push(std::move(restore));
      }
    }
  });
}

void BrokerImpl::Restore(const std::vector<QueueEntry>& queues) {
  const auto restored = [this] {
    ready_ = true;
    --shared_->recovering;
  };
  if (queues.empty()) return restored();
  auto left = std::make_shared<size_t>(queues.size());
  for (const QueueEntry& entry : queues) {
    auto lane = std::make_unique<LaneActor>(LaneId{entry.id, 0}, entry.name, entry.revision,
                                            entry.tuning, this);
    // A lane that cannot be restored refuses to serve by itself; the others do.
    lane->Recover([restored, left](const std::optional<Error>&) {
      if (--*left == 0) restored();
    });
    lanes_.emplace(entry.name, std::move(lane));
  }
}

void BrokerImpl::RunBatch(const Now& at) {
  now = at;
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
    return true;
  });
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
      MarkDirty(lane);
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
  for (const auto& [name, lane] : lanes_) oldest = std::max(oldest, lane->oldest_append(now.mono));
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

void BrokerImpl::Drain(std::function<void()> done) {
  if (all_drained_) return;
  all_drained_ = std::move(done);
  shards_to_drain_ = shared_->shards.size();
  const auto drained = [this] {
    if (--shards_to_drain_ == 0) all_drained_();
  };
  for (BrokerImpl* shard : shared_->shards) {
    if (shard == this) {
      DrainShard(drained);
    } else {
      shard->inbox_.Push(
          [this, shard, drained] { shard->DrainShard([this, drained] { inbox_.Push(drained); }); });
    }
  }
}

void BrokerImpl::DrainShard(std::function<void()> done) {
  if (!drain_.Begin(options_.drain_deadline_ms, now.mono)) return;
  drained_ = std::move(done);
  OnHealth();
  const DrainOut drain{options_.drain_deadline_ms, 1'000};
  lanes_to_save_ = lanes_.size();
  for (const auto& [name, lane] : lanes_) {
    lane->publishers().Drain(drain);
    lane->consumers().Drain(drain);
    lane->Drain([this] { --lanes_to_save_; });
  }
}

void BrokerImpl::AdvanceDrain() {
  using Phase = failure::Drain::Phase;
  if (!draining() || !drained_) return;
  const Phase before = drain_.phase();
  const bool spent = std::all_of(lanes_.begin(), lanes_.end(), [](const auto& lane) {
    return !lane.second->ready() || lane.second->failure() || lane.second->spent();
  });
  const Phase phase =
      drain_.Advance({.credit_spent = spent, .saved = lanes_to_save_ == 0}, now.mono);
  if (before == Phase::kAnnounced && phase != before && !spent) {
    // Who kept its credit, or did not settle, until now goes on at the next broker.
    for (const auto& [name, lane] : lanes_) lane->StopTaking();
  }
  if (phase == Phase::kDone) std::exchange(drained_, nullptr)();
}

}  // namespace spillway::runtime
