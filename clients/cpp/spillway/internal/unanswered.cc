#include "clients/cpp/spillway/internal/unanswered.h"

#include <algorithm>
#include <utility>

#include "broker/base/registry.gen.h"

namespace spillway::client::internal {
namespace {

constexpr size_t kMost = registry::limit::kMaxUnansweredSettleRanges;

}  // namespace

void Normalize(std::vector<OffsetRange>* ranges) {
  std::sort(ranges->begin(), ranges->end(), [](const OffsetRange& a, const OffsetRange& b) {
    return a.first_offset < b.first_offset;
  });
  size_t kept = 0;
  for (const OffsetRange range : *ranges) {
    if (kept > 0 && range.first_offset <= (*ranges)[kept - 1].end()) {
      OffsetRange& last = (*ranges)[kept - 1];
      last.count = std::max(last.end(), range.end()) - last.first_offset;
    } else {
      (*ranges)[kept++] = range;
    }
  }
  ranges->resize(kept);
}

std::vector<OffsetRange> Without(const std::vector<OffsetRange>& ranges,
                                 const std::vector<OffsetRange>& cut) {
  std::vector<OffsetRange> out;
  auto from = cut.begin();
  for (const OffsetRange& range : ranges) {
    while (from != cut.end() && from->end() <= range.first_offset) ++from;
    uint64_t at = range.first_offset;
    for (auto it = from; it != cut.end() && it->first_offset < range.end(); ++it) {
      if (it->first_offset > at) out.push_back({at, it->first_offset - at});
      at = std::max(at, it->end());
    }
    if (at < range.end()) out.push_back({at, range.end() - at});
  }
  return out;
}

void Unanswered::AddTo(const Settled& settled, Set* set) {
  auto same = set->end();
  if (settled.action == SettleAction::kAck) {
    same = std::find_if(set->begin(), set->end(),
                        [](const Settled& s) { return s.action == SettleAction::kAck; });
  } else if (!set->empty() && set->back().SameAs(settled)) {
    same = set->end() - 1;
  }
  if (same == set->end()) {
    set->push_back(settled);
    return;
  }
  for (const OffsetRange& range : settled.ranges) AppendRange(range, &same->ranges);
}

void Unanswered::Move(Set* from, Set* to) {
  for (const Settled& settled : *from) AddTo(settled, to);
  from->clear();
}

void Unanswered::Add(const Settled& settled) {
  AddTo(settled, &sent_);
  for (const OffsetRange& range : settled.ranges) high_ = std::max(high_, range.end());
  Trim(kMost);
}

void Unanswered::Ping() { Move(&sent_, &pinged_); }

void Unanswered::Pong() {
  pinged_.clear();
  claimed_ = true;
  if (again_.empty() && sent_.empty()) high_ = 0;
}

void Unanswered::Finished() {
  pinged_.clear();
  sent_.clear();
}

void Unanswered::Broke() {
  Move(&pinged_, &again_);
  Move(&sent_, &again_);
  for (Settled& settled : again_) Normalize(&settled.ranges);
  claimed_ = false;
  Trim(kMost);
}

void Unanswered::Trim(size_t most) {
  if (count() <= most) return;
  Set* const sets[] = {&again_, &pinged_, &sent_};
  for (Set* set : sets) {
    for (Settled& settled : *set) Normalize(&settled.ranges);
  }
  const size_t total = count();
  const size_t keep = most * 3 / 4;
  size_t over = total > keep ? total - keep : 0;
  for (Set* set : sets) {
    for (Settled& settled : *set) {
      // The lowest: those are about the oldest.
      const size_t n = std::min(over, settled.ranges.size());
      settled.ranges.erase(settled.ranges.begin(),
                           settled.ranges.begin() + static_cast<ptrdiff_t>(n));
      over -= n;
    }
    std::erase_if(*set, [](const Settled& s) { return s.ranges.empty(); });
  }
}

void Unanswered::Clear() { *this = Unanswered(); }

std::vector<OffsetRange> Unanswered::Over(const std::vector<OffsetRange>& over) {
  std::vector<OffsetRange> again;
  for (const Settled& settled : again_) {
    again.insert(again.end(), settled.ranges.begin(), settled.ranges.end());
  }
  Normalize(&again);
  for (Set* set : {&again_, &pinged_, &sent_}) {
    for (Settled& settled : *set) {
      Normalize(&settled.ranges);
      settled.ranges = Without(settled.ranges, over);
    }
    std::erase_if(*set, [](const Settled& s) { return s.ranges.empty(); });
  }
  return Without(over, again);
}

std::optional<Settled> Unanswered::Next(size_t most) {
  if (!claimed_ || again_.empty()) return std::nullopt;
  Settled& last = again_.back();
  Settled next = last;
  if (last.ranges.size() > most) {
    next.ranges.resize(most);
    last.ranges.erase(last.ranges.begin(), last.ranges.begin() + static_cast<ptrdiff_t>(most));
  } else {
    again_.pop_back();
  }
  return next;
}

bool Unanswered::wants_pong() const {
  return (!claimed_ && !again_.empty()) || count() >= kMost / 2;
}

std::vector<OffsetRange> Unanswered::Ranges() const {
  std::vector<OffsetRange> out;
  for (const Set* set : {&again_, &pinged_, &sent_}) {
    for (const Settled& settled : *set) {
      out.insert(out.end(), settled.ranges.begin(), settled.ranges.end());
    }
  }
  return out;
}

size_t Unanswered::count() const {
  size_t count = 0;
  for (const Set* set : {&again_, &pinged_, &sent_}) {
    for (const Settled& settled : *set) count += settled.ranges.size();
  }
  return count;
}

}  // namespace spillway::client::internal
