#include "broker/storage/faulty_store.h"

#include <deque>
#include <map>
#include <optional>

namespace spillway::storage {
namespace {

std::string_view CallName(Call call) {
  switch (call) {
    case Call::kAppend:
      return "append";
    case Call::kAcquire:
      return "acquire";
    case Call::kRead:
      return "read";
  }
  return "invalid";
}

}  // namespace

std::string_view FaultName(Fault fault) {
  switch (fault) {
    case Fault::kOverloaded:
      return "overloaded";
    case Fault::kUnavailable:
      return "unavailable";
    case Fault::kUnknownWithEffect:
      return "unknown, kept";
    case Fault::kUnknownWithoutEffect:
      return "unknown, not kept";
    case Fault::kDelay:
      return "delay";
    case Fault::kFenced:
      return "fenced";
    case Fault::kPoisoned:
      return "poisoned";
    case Fault::kCorrupt:
      return "corrupt";
  }
  return "invalid";
}

std::string ToString(const FaultRule& rule) {
  std::string out = std::string(CallName(rule.at)) + " " + std::to_string(rule.nth);
  if (rule.one_lane) {
    out +=
        " of lane " + std::to_string(rule.lane.queue) + "/" + std::to_string(rule.lane.partition);
  }
  return out + ": " + std::string(FaultName(rule.fault));
}

// What the store and its owners share, so that a late completion finds it.
struct FaultyStore::State {
  struct Armed {
    FaultRule rule;
    uint64_t counted = 0;
    bool struck = false;
  };

  // The fault that this call meets, if any.
  std::optional<Fault> Count(Call call, LaneId lane) {
    std::lock_guard lock(mu);
    std::optional<Fault> fault;
    for (Armed& a : rules) {
      if (a.struck || a.rule.at != call || (a.rule.one_lane && a.rule.lane != lane)) continue;
      if (++a.counted < a.rule.nth || fault) continue;
      a.struck = true;
      fault = a.rule.fault;
    }
    return fault;
  }

  // Calls `f` now, or later if the lane is held back.
  void InOrder(LaneId lane, std::function<void()> f) {
    {
      std::lock_guard lock(mu);
      if (delayed[lane]) {
        held.push_back(std::move(f));
        return;
      }
    }
    f();
  }

  void Poison(const std::string& why) {
    std::vector<std::function<void(std::string)>> told;
    {
      std::lock_guard lock(mu);
      if (std::exchange(poisoned, true)) return;
      poison_reason = why;
      told.swap(poison_waiters);
    }
    for (auto& f : told) f(why);
  }
  bool IsPoisoned() {
    std::lock_guard lock(mu);
    return poisoned;
  }

  std::mutex mu;
  std::vector<Armed> rules;                                      // guarded by mu
  std::map<LaneId, bool> delayed;                                // guarded by mu
  std::deque<std::function<void()>> held;                        // guarded by mu
  std::vector<std::function<void(std::string)>> poison_waiters;  // guarded by mu
  std::string poison_reason;                                     // guarded by mu
  bool poisoned = false;                                         // guarded by mu
};

class FaultyStore::OwnerImpl final : public Owner {
 public:
  OwnerImpl(std::shared_ptr<State> state, LogStore& inner, LaneId lane,
            std::unique_ptr<Owner> owner)
      : state_(std::move(state)), inner_(inner), lane_(lane), owner_(std::move(owner)) {}

  Epoch epoch() const override { return owner_->epoch(); }
  size_t room() const override { return state_->IsPoisoned() ? 0 : owner_->room(); }
  void OnDrain(std::function<void()> f) override { owner_->OnDrain(std::move(f)); }
  void OnLost(std::function<void()> f) override { owner_->OnLost(std::move(f)); }
  void Trim(Position upto, Completion done) override {
    owner_->Trim(upto, Wrap(std::nullopt, std::move(done)));
  }
  void Barrier(Completion done) override { owner_->Barrier(Wrap(std::nullopt, std::move(done))); }

  Err Append(const Record& record, Level level, Completion done) override {
    if (state_->IsPoisoned()) return Err::kUnavailable;
    if (*failed_) return Err::kUnavailable;
    const auto fault = state_->Count(Call::kAppend, lane_);
    if (!fault) return owner_->Append(record, level, Wrap(std::nullopt, std::move(done)));
    switch (*fault) {
      case Fault::kOverloaded:
        return Err::kOverloaded;
      case Fault::kUnavailable:
        return Err::kUnavailable;
      case Fault::kUnknownWithEffect:
        *failed_ = true;
        return owner_->Append(record, level, Wrap(Err::kUnknown, std::move(done)));
      case Fault::kPoisoned:
      case Fault::kUnknownWithoutEffect: {
        *failed_ = true;
        // A barrier completes where the entry would have.
        const bool poison = *fault == Fault::kPoisoned;
        owner_->Barrier(Wrap(Err::kUnknown,
                             [state = state_, poison, done = std::move(done)](Err err, Position p) {
                               done(err, p);
                               if (poison) state->Poison("a fault was asked for");
                             }));
        return Err::kOk;
      }
      case Fault::kDelay: {
        {
          std::lock_guard lock(state_->mu);
          state_->delayed[lane_] = true;
        }
        return owner_->Append(record, level, Wrap(std::nullopt, std::move(done)));
      }
      case Fault::kFenced:
        // Before the entry: the thief takes the lane and lets it go.
        inner_.Acquire(
            lane_, [](const Entry&) { return true; }, [](Err, std::unique_ptr<Owner>) {});
        return owner_->Append(record, level, Wrap(std::nullopt, std::move(done)));
      case Fault::kCorrupt:
        break;
    }
    return Err::kMisconfigured;
  }

 private:
  // `done` in the lane's order; with `instead` as the outcome, if given, and from
  // the first such failure on.
  Completion Wrap(std::optional<Err> instead, Completion done) {
    return [state = state_, lane = lane_, sticky = sticky_, instead, done = std::move(done)](
               Err err, Position position) {
      if (instead && *sticky == Err::kOk) *sticky = *instead;
      if (*sticky != Err::kOk) err = *sticky, position = 0;
      state->InOrder(lane, [done, err, position] { done(err, position); });
    };
  }

  const std::shared_ptr<State> state_;
  LogStore& inner_;
  const LaneId lane_;
  const std::unique_ptr<Owner> owner_;
  // The owner's thread's: nothing is taken after a failure that was made up.
  const std::unique_ptr<bool> failed_ = std::make_unique<bool>(false);
  // The completing thread's.
  const std::shared_ptr<Err> sticky_ = std::make_shared<Err>(Err::kOk);
};

FaultyStore::FaultyStore(std::unique_ptr<LogStore> inner, std::vector<FaultRule> rules)
    : state_(std::make_shared<State>()), inner_(std::move(inner)) {
  for (auto& rule : rules) Add(std::move(rule));
}
FaultyStore::~FaultyStore() = default;

void FaultyStore::Add(FaultRule rule) {
  std::lock_guard lock(state_->mu);
  state_->rules.push_back({.rule = std::move(rule)});
}

void FaultyStore::Release() {
  for (;;) {
    std::function<void()> next;
    {
      std::lock_guard lock(state_->mu);
      if (state_->held.empty()) {
        state_->delayed.clear();
        return;
      }
      next = std::move(state_->held.front());
      state_->held.pop_front();
    }
    next();
  }
}

size_t FaultyStore::held_back() const {
  std::lock_guard lock(state_->mu);
  return state_->held.size();
}

size_t FaultyStore::struck() const {
  std::lock_guard lock(state_->mu);
  size_t n = 0;
  for (const auto& a : state_->rules) n += a.struck ? 1 : 0;
  return n;
}

void FaultyStore::Acquire(LaneId lane, Replay replay, Acquired done) {
  std::optional<Fault> fault = state_->Count(Call::kAcquire, lane);
  if (state_->IsPoisoned()) fault = Fault::kUnavailable;
  // A refusal, too, comes from a thread of the store: at the replay's end.
  auto refuse = fault == Fault::kCorrupt  ? Err::kCorrupt
                : fault == Fault::kFenced ? Err::kFenced
                : fault                   ? Err::kUnavailable
                                          : Err::kOk;
  if (refuse != Err::kOk) replay = [](const Entry&) { return true; };
  inner_->Acquire(lane, std::move(replay),
                  [state = state_, inner = inner_.get(), lane, refuse, done = std::move(done)](
                      Err err, std::unique_ptr<Owner> owner) {
                    if (err == Err::kOk) err = refuse;
                    if (err != Err::kOk) return done(err, nullptr);
                    done(err, std::make_unique<OwnerImpl>(state, *inner, lane, std::move(owner)));
                  });
}

void FaultyStore::Read(LaneId lane, Position from, size_t max_bytes, ReadDone done) {
  const std::optional<Fault> fault = state_->Count(Call::kRead, lane);
  if (!fault) return inner_->Read(lane, from, max_bytes, std::move(done));
  const Err err = *fault == Fault::kCorrupt      ? Err::kCorrupt
                  : *fault == Fault::kOverloaded ? Err::kOverloaded
                                                 : Err::kUnavailable;
  inner_->Read(lane, from, 1,
               [err, from, done = std::move(done)](Err, const std::vector<Entry>&, Position) {
                 done(err, {}, from);
               });
}

void FaultyStore::OnPoisoned(std::function<void(std::string)> f) {
  std::string why;
  {
    std::lock_guard lock(state_->mu);
    if (!state_->poisoned) {
      // The inner store may fail of itself, too; one of the two is first.
      state_->poison_waiters.push_back(f);
    } else {
      why = state_->poison_reason;
    }
  }
  if (!why.empty()) return f(why);
  inner_->OnPoisoned([state = state_](const std::string& why) { state->Poison(why); });
}

}  // namespace spillway::storage
