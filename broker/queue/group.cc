#include "broker/queue/group.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

namespace spillway::queue {

Group::Group(std::string name, GroupMode mode, Offset start)
    : name_(std::move(name)), mode_(mode), head_(0), cursor_(start), next_(start) {}

Offset Group::needed_from() const {
  Offset needed = cursor_;
  if (!parked_.empty()) needed = std::min(needed, parked_.begin()->first);
  if (!released_.empty()) needed = std::min(needed, released_.first());
  return needed;
}

// ---- Picking ---------------------------------------------------------------

Group::Ready Group::FirstReady() const {
  const auto& [first, waiting] = *ready_.begin();
  return {{first, waiting.count}, waiting.attempt};
}

std::pair<Offset, Offset> Group::FreshRange() {
  if (taken_.empty()) return {next_, std::numeric_limits<Offset>::max()};
  next_ = taken_.NextOutside(next_);
  taken_.RemoveBelow(next_);
  return {next_, taken_.NextInside(next_)};
}

void Group::Hold(OffsetRange range, const InFlight& run) {
  in_flight_.emplace(range.first, run);
  Account(run, true);
  PushDeadline(run.deadline, range.first);
}

void Group::PushDeadline(MonoNanos at, Offset first) {
  constexpr size_t kFewDeadlines = 64;
  deadlines_.push({at, first});
  if (deadlines_.size() < kFewDeadlines + 4 * in_flight_.size()) return;
  std::vector<Deadline> live;
  live.reserve(in_flight_.size());
  for (const auto& [offset, run] : in_flight_) live.push_back({run.deadline, offset});
  deadlines_ = decltype(deadlines_)(std::greater<>(), std::move(live));
}

uint32_t Group::TakeReady(OffsetRange range) {
  auto it = ready_.begin();
  assert(it != ready_.end() && it->first == range.first && it->second.count >= range.count);
  const Waiting rest{it->second.count - range.count, it->second.attempt};
  ready_.erase(it);
  if (rest.count > 0) ready_.emplace(range.end(), rest);
  ready_messages_ -= range.count;
  return rest.attempt;
}

void Group::DeliverReady(OffsetRange range, uint64_t bytes, MemberId member, MonoNanos deadline) {
  const uint32_t attempt = TakeReady(range);
  redelivered_total_ += range.count;
  ++version_;
  Hold(range, {range.count, member, attempt, deadline, bytes});
}

void Group::DeliverFresh(OffsetRange range, uint64_t bytes, MemberId member, MonoNanos deadline) {
  assert(range.first == next_);
  next_ = range.end();
  Hold(range, {range.count, member, 1, deadline, bytes});
}

void Group::DropReady(OffsetRange range) {
  TakeReady(range);
  gone_total_ += range.count;
  Settled(range);
  settled_total_ -= range.count;
}

uint64_t Group::SkipFresh(OffsetRange range) {
  assert(range.first == next_);
  uint64_t skipped = 0;
  for (const OffsetRange& part : taken_.Missing(range)) {
    settled_.Add(part);
    skipped += part.count;
  }
  next_ = range.end();
  taken_.RemoveBelow(next_);
  gone_total_ += skipped;
  ++version_;
  AdvanceCursor();
  return skipped;
}

// ---- Settling --------------------------------------------------------------

namespace {

// A delay may be as long as its type: never.
MonoNanos After(MonoNanos now, MonoNanos delay) {
  constexpr MonoNanos kNever = std::numeric_limits<MonoNanos>::max();
  return delay > kNever - now ? kNever : now + delay;
}

}  // namespace

void Group::Account(const InFlight& run, bool add) {
  Credit& held = held_by_[run.member];
  const Credit cost{run.count, run.bytes};
  if (add) {
    held += cost;
    in_flight_messages_ += run.count;
  } else {
    held -= cost;
    in_flight_messages_ -= run.count;
    if (held == Credit{}) held_by_.erase(run.member);
  }
}

Credit Group::InFlightOf(MemberId member) const {
  auto it = held_by_.find(member);
  return it == held_by_.end() ? Credit{} : it->second;
}

void Group::SplitInFlight(Offset offset) {
  auto it = in_flight_.upper_bound(offset);
  if (it == in_flight_.begin()) return;
  --it;
  if (it->first == offset || it->first + it->second.count <= offset) return;
  InFlight right = it->second;
  right.count = it->first + it->second.count - offset;
  // Each part takes its share of the bytes. Which record has how many is not kept
  // here, so a part is exact only where records are alike; the sum always is.
  right.bytes = static_cast<uint64_t>(static_cast<double>(it->second.bytes) *
                                      static_cast<double>(right.count) /
                                      static_cast<double>(it->second.count));
  it->second.bytes -= right.bytes;
  it->second.count -= right.count;
  in_flight_.emplace(offset, right);
  PushDeadline(right.deadline, offset);
}

template <typename F>
std::vector<OffsetRange> Group::TakeInFlight(OffsetRange range, MemberId member, F f) {
  std::vector<OffsetRange> stale;
  SplitInFlight(range.first);
  SplitInFlight(range.end());
  Offset at = range.first;
  auto it = in_flight_.lower_bound(range.first);
  while (it != in_flight_.end() && it->first < range.end()) {
    const OffsetRange part{it->first, it->second.count};
    if (part.first > at) stale.push_back({at, part.first - at});
    at = part.end();
    if (it->second.member != member) {
      stale.push_back(part);
      ++it;
      continue;
    }
    const InFlight run = it->second;
    it = in_flight_.erase(it);
    Account(run, false);
    f(part, run);
  }
  if (at < range.end()) stale.push_back({at, range.end() - at});
  return stale;
}

void Group::Settled(OffsetRange range) {
  settled_total_ += range.count;
  if (!released_.empty()) released_.Remove(range);
  ++version_;
  if (range.end() <= cursor_) return;
  // The usual case: in order.
  if (range.first <= cursor_ && settled_.empty()) {
    cursor_ = range.end();
    return;
  }
  settled_.Add(range);
  AdvanceCursor();
}

void Group::AdvanceCursor() {
  while (!settled_.empty() && settled_.first() <= cursor_) {
    const OffsetRange range = settled_.first_range();
    cursor_ = std::max(cursor_, range.end());
    settled_.Remove(range);
  }
}

OffsetRange Group::WithoutGone(OffsetRange range) {
  if (range.first >= head_) return range;
  const OffsetRange gone{range.first, std::min(range.end(), head_) - range.first};
  gone_total_ += gone.count;
  Settled(gone);
  settled_total_ -= gone.count;
  return {gone.end(), range.count - gone.count};
}

void Group::Again(OffsetRange range, uint32_t attempt, MonoNanos due, MonoNanos now) {
  range = WithoutGone(range);
  if (range.count == 0) return;
  ++version_;
  if (due > now) {
    delayed_.emplace(due, Ready{range, attempt});
    delayed_messages_ += range.count;
    return;
  }
  ready_.emplace(range.first, Waiting{range.count, attempt});
  ready_messages_ += range.count;
}

void Group::Park(OffsetRange range, uint32_t attempts, const std::string& reason, UnixMillis at) {
  range = WithoutGone(range);
  if (range.count == 0) return;
  for (Offset offset = range.first; offset < range.end(); ++offset) {
    parked_[offset] = Parked{attempts, at, reason};
  }
  Settled(range);
  settled_total_ -= range.count;
}

std::vector<OffsetRange> Group::Settle(OffsetRange range, MemberId member, SettleAction action,
                                       MonoNanos delay, const std::string& reason, const Now& now,
                                       const RetryRules& rules) {
  return TakeInFlight(range, member, [&](OffsetRange part, const InFlight& run) {
    switch (action) {
      case SettleAction::kAck:
      case SettleAction::kSkip:
        Settled(part);
        return;
      case SettleAction::kRetry: {
        const bool used_up =
            run.attempt >= rules.max_attempts && parked_.size() + part.count <= kMaxParked;
        if (!used_up) {
          const MonoNanos wait = delay > 0 ? delay : rules.backoff(run.attempt + 1);
          Again(part, run.attempt + 1, After(now.mono, wait), now.mono);
          return;
        }
        [[fallthrough]];
      }
      case SettleAction::kPark:
        if (parked_.size() + part.count > kMaxParked) {
          Again(part, run.attempt, After(now.mono, rules.backoff(rules.max_attempts)), now.mono);
          return;
        }
        Park(part, run.attempt, reason, now.unix_ms);
        return;
    }
  });
}

std::vector<OffsetRange> Group::Extend(OffsetRange range, MemberId member, MonoNanos deadline) {
  std::vector<std::pair<OffsetRange, InFlight>> runs;
  auto stale = TakeInFlight(
      range, member, [&](OffsetRange part, const InFlight& run) { runs.emplace_back(part, run); });
  for (auto& [part, run] : runs) {
    run.deadline = deadline;
    Hold(part, run);
  }
  return stale;
}

void Group::Disconnect(MemberId member) {
  if (held_by_.find(member) == held_by_.end()) return;
  std::vector<std::pair<OffsetRange, InFlight>> runs;
  for (const auto& [first, run] : in_flight_) {
    if (run.member == member) runs.push_back({{first, run.count}, run});
  }
  for (const auto& [range, run] : runs) {
    in_flight_.erase(range.first);
    Account(run, false);
    Again(range, run.attempt + 1, 0, 0);
  }
}

std::vector<OffsetRange> Group::Reclaim(OffsetRange range, MemberId member, Offset tail,
                                        MonoNanos deadline) {
  std::vector<OffsetRange> lost;
  auto hold = [&](OffsetRange part, uint32_t attempt) {
    Hold(part, {part.count, member, attempt, deadline, 0});
  };
  Offset at = range.first;
  while (at < range.end()) {
    // Waiting to be delivered again: it stays with the one who holds it.
    auto it = ready_.upper_bound(at);
    if (it != ready_.begin() && std::prev(it)->first + std::prev(it)->second.count > at) --it;
    if (it != ready_.end() && it->first <= at) {
      const Offset first = it->first;
      const Waiting waiting = it->second;
      const OffsetRange part{at, std::min(range.end(), first + waiting.count) - at};
      ready_.erase(it);
      if (part.first > first) ready_.emplace(first, Waiting{part.first - first, waiting.attempt});
      const uint64_t after = first + waiting.count - part.end();
      if (after > 0) ready_.emplace(part.end(), Waiting{after, waiting.attempt});
      ready_messages_ -= part.count;
      hold(part, std::max<uint32_t>(1, waiting.attempt - 1));
      at = part.end();
      continue;
    }
    // Stated twice.
    auto held = in_flight_.upper_bound(at);
    const Offset held_from = held == in_flight_.end() ? range.end() : held->first;
    if (held != in_flight_.begin()) {
      const auto& [first, run] = *std::prev(held);
      if (run.member == member && first + run.count > at) {
        at = first + run.count;
        continue;
      }
    }
    const Offset ready_from = it == ready_.end() ? range.end() : std::min(it->first, range.end());
    // Fresh for this incarnation of the broker, and known to the client.
    if (at >= next_ && at < tail && !taken_.Contains(at)) {
      const Offset end = std::min({ready_from, tail, taken_.NextInside(at)});
      hold({at, end - at}, 1);
      taken_.Add({at, end - at});
      at = end;
      continue;
    }
    Offset end = std::min(ready_from, held_from);
    if (at < next_) end = std::min(end, std::max(next_, at + 1));
    if (at >= next_ && taken_.Contains(at)) end = std::min(end, taken_.NextOutside(at));
    lost.push_back({at, end - at});
    at = end;
  }
  ++version_;
  return lost;
}

void Group::Tick(const Now& now, const RetryRules& rules,
                 std::vector<std::pair<MemberId, OffsetRange>>* revoked) {
  while (!delayed_.empty() && delayed_.begin()->first <= now.mono) {
    const Ready due = delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    delayed_messages_ -= due.range.count;
    Again(due.range, due.attempt, 0, now.mono);
  }
  while (!deadlines_.empty() && deadlines_.top().at <= now.mono) {
    const Deadline top = deadlines_.top();
    deadlines_.pop();
    auto it = in_flight_.find(top.first);
    if (it == in_flight_.end() || it->second.deadline != top.at) continue;
    const InFlight run = it->second;
    const OffsetRange range{top.first, run.count};
    in_flight_.erase(it);
    Account(run, false);
    revoked->emplace_back(run.member, range);
    if (run.attempt >= rules.max_attempts && parked_.size() + range.count <= kMaxParked) {
      Park(range, run.attempt, "not settled within the acknowledgement deadline", now.unix_ms);
    } else {
      Again(range, run.attempt + 1, 0, now.mono);
    }
  }
}

MonoNanos Group::next_deadline() const {
  MonoNanos at = std::numeric_limits<MonoNanos>::max();
  if (!delayed_.empty()) at = std::min(at, delayed_.begin()->first);
  if (!deadlines_.empty()) at = std::min(at, deadlines_.top().at);
  return at;
}

// ---- Administration --------------------------------------------------------

void Group::Seek(Offset target, std::vector<std::pair<MemberId, OffsetRange>>* revoked) {
  for (const auto& [first, run] : in_flight_) {
    revoked->emplace_back(run.member, OffsetRange{first, run.count});
  }
  in_flight_.clear();
  held_by_.clear();
  deadlines_ = {};
  in_flight_messages_ = ready_messages_ = delayed_messages_ = 0;
  ready_.clear();
  delayed_.clear();
  settled_.Clear();
  taken_.Clear();
  released_.Clear();
  target = std::max(target, head_);
  // What is parked stays parked, and is not delivered on the way.
  for (const auto& [offset, parked] : parked_) {
    if (offset < target) continue;
    settled_.Add({offset, 1});
    taken_.Add({offset, 1});
  }
  cursor_ = next_ = target;
  fresh_fetch.Clear();
  retry_fetch.Clear();
  ++version_;
  AdvanceCursor();
}

std::vector<OffsetRange> Group::AdvanceHead(Offset head) {
  if (head <= head_) return {};
  head_ = head;
  RangeSet gone;
  while (!ready_.empty() && ready_.begin()->first < head) {
    const auto [first, waiting] = *ready_.begin();
    ready_.erase(ready_.begin());
    const uint64_t below = std::min(first + waiting.count, head) - first;
    gone.Add({first, below});
    ready_messages_ -= below;
    if (below < waiting.count) {
      ready_.emplace(first + below, Waiting{waiting.count - below, waiting.attempt});
    }
  }
  for (auto it = delayed_.begin(); it != delayed_.end();) {
    Ready& due = it->second;
    if (due.range.first >= head) {
      ++it;
      continue;
    }
    const uint64_t below = std::min(due.range.end(), head) - due.range.first;
    gone.Add({due.range.first, below});
    delayed_messages_ -= below;
    due.range = {due.range.first + below, due.range.count - below};
    it = due.range.count == 0 ? delayed_.erase(it) : std::next(it);
  }
  while (!parked_.empty() && parked_.begin()->first < head) {
    gone.Add({parked_.begin()->first, 1});
    parked_.erase(parked_.begin());
  }
  if (next_ < head) {
    for (const OffsetRange& part : taken_.Missing({next_, head - next_})) gone.Add(part);
    next_ = head;
    taken_.RemoveBelow(next_);
  }
  released_.RemoveBelow(head);
  // Below the head only what is in flight is unsettled now.
  if (cursor_ < head) {
    RangeSet done;
    done.Add({cursor_, head - cursor_});
    for (const auto& [first, run] : in_flight_) {
      if (first >= head) break;
      done.Remove({first, run.count});
    }
    for (const OffsetRange& range : done.ToVector()) settled_.Add(range);
    AdvanceCursor();
  }
  gone_total_ += gone.count();
  ++version_;
  return gone.ToVector();
}

uint64_t Group::Release(OffsetRange range) {
  uint64_t released = 0;
  for (auto it = parked_.lower_bound(range.first);
       it != parked_.end() && it->first < range.end();) {
    // The cursor waits for it, where it has not passed yet.
    const OffsetRange one{it->first, 1};
    if (it->first < cursor_) {
      released_.Add(one);
    } else {
      settled_.Remove(one);
    }
    ready_.emplace(it->first, Waiting{1, 1});
    ++ready_messages_;
    ++released;
    it = parked_.erase(it);
  }
  if (released > 0) ++version_;
  return released;
}

// ---- State -----------------------------------------------------------------

Group::State Group::state() const {
  State state;
  state.cursor = cursor_;
  state.settled = settled_.ToVector();
  auto keep = [&](OffsetRange range, uint32_t attempt) {
    if (attempt > 1 || range.first < cursor_) state.attempted.push_back({range, attempt});
  };
  for (const auto& [first, waiting] : ready_) keep({first, waiting.count}, waiting.attempt);
  for (const auto& [at, due] : delayed_) keep(due.range, due.attempt);
  for (const auto& [first, run] : in_flight_) keep({first, run.count}, run.attempt);
  state.parked.assign(parked_.begin(), parked_.end());
  return state;
}

void Group::Restore(const State& state) {
  const Offset head = std::exchange(head_, 0);
  parked_.clear();
  std::vector<std::pair<MemberId, OffsetRange>> revoked;
  Seek(state.cursor, &revoked);
  assert(revoked.empty());
  for (const OffsetRange& range : state.settled) {
    settled_.Add(range);
    taken_.Add(range);
  }
  for (const auto& [offset, parked] : state.parked) {
    parked_.emplace(offset, parked);
    if (offset >= cursor_) {
      settled_.Add({offset, 1});
      taken_.Add({offset, 1});
    }
  }
  for (const Ready& ready : state.attempted) {
    ready_.emplace(ready.range.first, Waiting{ready.range.count, ready.attempt});
    ready_messages_ += ready.range.count;
    if (ready.range.end() > next_) taken_.Add(ready.range);
    if (ready.range.first < cursor_) released_.Add(ready.range);
  }
  AdvanceCursor();
  // What was in flight below the head is gone now.
  AdvanceHead(head);
}

}  // namespace spillway::queue
