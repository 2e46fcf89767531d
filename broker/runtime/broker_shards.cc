// How the shards of one broker begin and end: the list of queues is restored and dealt
// out, a drain is told to all, nothing is on its way when one is destroyed.
#include <algorithm>
#include <thread>
#include <utility>

#include "broker/runtime/broker_impl.h"
#include "broker/runtime/shard_of.h"

namespace spillway::runtime {

std::unique_ptr<Broker> Broker::Create(BrokerOptions options) {
  const auto wake = [wake = options.wake](size_t) {
    if (wake) wake();
  };
  return std::move(CreateShards(std::move(options), 1, wake).front());
}

std::vector<std::unique_ptr<Broker>> Broker::CreateShards(BrokerOptions options, size_t shards,
                                                          const std::function<void(size_t)>& wake) {
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
  pace = &pace_;
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

// ---- Start ---------------------------------------------------------------------

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

// ---- Drain ---------------------------------------------------------------------

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
