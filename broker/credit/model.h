// A lane's credit under random producers, an unreliable crowd and an auditor that
// counts for itself; for tests.
//
// Producers, a network with delays, a consumer and the lane are played here as the
// real ones behave; the ledger and the policy are the caller's, so that a test can
// plant faults in them and see that the auditor finds each (I11, I13, I15).
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "broker/base/random.h"
#include "broker/base/types.h"
#include "broker/credit/ledger.h"
#include "broker/credit/policy.h"

namespace spillway::credit {

template <typename LedgerT, typename PolicyT>
class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed) {
    base_window_ = {1 + random_.Below(200), 500 + random_.Below(20'000)};
    max_message_ = base_window_.bytes / (1 + random_.Below(10));
    window_ = base_window_;
    producers_.resize(1 + random_.Below(random_.Below(8) == 0 ? 120 : 12));
    for (Producer& producer : producers_) {
      producer.role = static_cast<Role>(random_.Below(3));
      Open(&producer);
    }
  }

  // Runs to rest. Returns what was violated, or nothing.
  std::string Run() {
    const uint64_t ticks = 50 + random_.Below(150);
    for (uint64_t i = 0; i < ticks && violation_.empty(); ++i) Tick(/*settling=*/false);
    window_ = base_window_;
    stop_ = Reason::kNone;
    for (uint64_t i = 0; i < kTicksToRest && violation_.empty() && !AllSent(); ++i) {
      Tick(/*settling=*/true);
    }
    if (violation_.empty() && !AllSent()) Violate("I15: records wait, though there is room");
    for (Producer& producer : producers_) {
      if (violation_.empty()) Close(&producer);
    }
    if (violation_.empty() && !(ledger_.unspent() == Credit{})) Violate("I13: credit left at rest");
    if (violation_.empty() &&
        !(ledger_.granted_total() == ledger_.received_total() + ledger_.returned_total())) {
      Violate("I13: granted is not received and returned");
    }
    return violation_;
  }
  uint64_t records_received() const { return records_received_; }

 private:
  static constexpr uint64_t kTicksToRest = 20'000;
  enum class Role : uint8_t { kSteady, kBursts, kLarge };

  struct Upward {
    std::vector<uint64_t> records;  // or, if empty, a demand:
    Credit waiting;
    uint64_t next_record_bytes = 0;
    Credit returned;
  };
  struct Downward {
    Credit limit;
    Reason reason = Reason::kNone;
  };
  struct Producer {
    Role role = Role::kSteady;
    // Its own view.
    Credit limit, sent, returned;
    std::deque<uint64_t> backlog;
    bool said = false;  // what waits was demanded since the last grant
    Reason told = Reason::kNone;
    // The network.
    std::deque<Upward> up;
    std::deque<Downward> down;
    // The lane's.
    Ledger::AccountId account = 0;
    Credit waiting;
    uint64_t next_record_bytes = 0;
    MonoNanos waiting_since = 0;
    MonoNanos active_at = 0;
    Reason reason = Reason::kNone;
    // The auditor's.
    Credit audit;  // granted and neither received nor returned

    Credit left() const { return limit - sent - returned; }
  };

  void Violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }
  bool Chance(uint64_t one_in) { return random_.Below(one_in) == 0; }

  void Open(Producer* p) {
    p->limit = p->sent = p->returned = p->waiting = p->audit = {};
    p->said = false;
    p->told = p->reason = Reason::kNone;
    p->up.clear();
    p->down.clear();
    p->account = ledger_.Open();
    p->active_at = now_;
  }

  void Close(Producer* p) {
    ledger_.Close(p->account);
    p->audit = {};
    Audit("I13: closing an account");
  }

  // The ledger's sum is the auditor's.
  void Audit(const char* what) {
    Credit sum;
    for (const Producer& p : producers_) sum += p.audit;
    if (!(ledger_.unspent() == sum)) Violate(what);
  }

  bool AllSent() const {
    return std::all_of(producers_.begin(), producers_.end(), [](const Producer& p) {
      return p.backlog.empty() && std::all_of(p.up.begin(), p.up.end(), [](const Upward& frame) {
               return frame.records.empty();
             });
    });
  }

  void Tick(bool settling) {
    now_ += kNanosPerMilli * (Chance(50) ? 2'000 : 1);
    if (!settling) Disturb();
    for (Producer& p : producers_) {
      if (!settling) Produce(&p);
      if (Chance(2)) Act(&p);
      while (!p.up.empty() && Chance(2)) {
        Receive(&p, p.up.front());
        p.up.pop_front();
      }
      if (!violation_.empty()) return;
    }
    Drain(settling);
    if (settling || Chance(2)) Plan();
    for (Producer& p : producers_) {
      while (!p.down.empty() && Chance(2)) {
        p.limit = p.down.front().limit;
        p.told = p.down.front().reason;
        p.said = false;
        p.down.pop_front();
      }
    }
  }

  void Disturb() {
    if (Chance(20)) {
      window_ = {1 + base_window_.messages / (1 + random_.Below(4)),
                 std::max(max_message_, base_window_.bytes / (1 + random_.Below(4)))};
    }
    if (Chance(40)) stop_ = Chance(2) ? Reason::kDiskLow : Reason::kNone;
    consumer_stalls_ = Chance(10) ? !consumer_stalls_ : consumer_stalls_;
    Producer& p = producers_[random_.Below(producers_.size())];
    if (Chance(15)) {
      Close(&p);
      Open(&p);
    } else if (Chance(10)) {
      Probe(&p);
    }
  }

  // A frame of one too many is refused, whole; one exactly at the limit is taken.
  void Probe(Producer* p) {
    const Credit over = Chance(2) ? Credit{1, 0} : Credit{0, 1};
    if (ledger_.Receive(p->account, p->audit + over)) {
      return Violate("I13: a frame beyond the limit was taken");
    }
    Audit("I13: a refused frame was counted");
    if (!p->up.empty() || !p->down.empty()) return;  // the two views differ now
    if (!ledger_.Receive(p->account, p->audit)) return Violate("I13: refused at the limit");
    p->sent += p->audit;
    p->audit = {};
    Audit("I13: receiving at the limit");
  }

  void Produce(Producer* p) {
    if (p->backlog.size() > 20) return;
    switch (p->role) {
      case Role::kSteady:
        p->backlog.push_back(Size(10));
        break;
      case Role::kBursts:
        if (Chance(20)) p->backlog.insert(p->backlog.end(), 1 + random_.Below(20), Size(4));
        break;
      case Role::kLarge:
        if (Chance(10)) p->backlog.push_back(max_message_ - random_.Below(2) * (max_message_ / 4));
        break;
    }
  }
  uint64_t Size(uint64_t parts) { return 1 + random_.Below(1 + (max_message_ - 1) / parts); }

  // As clients do: send what fits; else say what waits, and give back what is asked.
  void Act(Producer* p) {
    Upward frame;
    Credit left = p->left();
    while (!p->backlog.empty() && Credit{1, p->backlog.front()}.Within(left)) {
      left -= {1, p->backlog.front()};
      frame.records.push_back(p->backlog.front());
      p->backlog.pop_front();
    }
    if (!frame.records.empty()) {
      p->sent += p->left() - left;
      p->up.push_back(std::move(frame));
    }
    const bool asked = p->told == Reason::kFairShare && !(left == Credit{});
    if (asked) p->returned += left;
    if (!asked && (p->backlog.empty() || p->said)) return;
    p->said = true;
    Upward demand;
    demand.returned = p->returned;
    for (const uint64_t bytes : p->backlog) demand.waiting += {1, bytes};
    if (!p->backlog.empty()) demand.next_record_bytes = p->backlog.front();
    p->up.push_back(std::move(demand));
  }

  void Receive(Producer* p, const Upward& frame) {
    if (!frame.records.empty()) {
      Credit cost;
      for (const uint64_t bytes : frame.records) cost += {1, bytes};
      if (!ledger_.Receive(p->account, cost)) {
        return Violate("I13: a frame within the producer's limit was refused");
      }
      p->audit -= cost;
      p->active_at = now_;
      held_records_.insert(held_records_.end(), frame.records.begin(), frame.records.end());
      held_ += cost;
      records_received_ += cost.messages;
      return Audit("I13: receiving");
    }
    const Credit before = ledger_.returned(p->account);
    if (ledger_.Return(p->account, frame.returned) != Ledger::ReturnVerdict::kOk) {
      return Violate("I13: a rightful return was refused");
    }
    p->audit -= frame.returned - before;
    Audit("I13: returning");
    if (p->waiting == Credit{}) p->waiting_since = now_;
    p->waiting = frame.waiting;
    p->next_record_bytes = frame.next_record_bytes;
  }

  void Drain(bool settling) {
    if (!settling && consumer_stalls_) return;
    uint64_t n = settling ? held_records_.size() : random_.Below(10);
    for (; n > 0 && !held_records_.empty(); --n) {
      held_ -= {1, held_records_.front()};
      held_records_.pop_front();
    }
  }

  void Plan() {
    Pressure pressure;
    pressure.window = window_;
    pressure.held = held_;
    pressure.unspent = ledger_.unspent();
    pressure.max_message_bytes = max_message_;
    pressure.budget_bytes = std::numeric_limits<uint64_t>::max();
    pressure.quota_bytes = std::numeric_limits<uint64_t>::max();
    pressure.stop = stop_;
    pressure.now = now_;
    std::vector<Claim> claims;
    claims.reserve(producers_.size());
    for (const Producer& p : producers_) {
      claims.push_back({.outstanding = ledger_.outstanding(p.account),
                        .waiting = p.waiting,
                        .next_record_bytes = p.next_record_bytes,
                        .waiting_since = p.waiting_since,
                        .active_at = p.active_at,
                        .riding = Chance(4)});
    }
    policy_.Plan(pressure, claims);
    CheckTurns(claims);
    Credit raised;
    for (size_t i = 0; i < claims.size(); ++i) {
      Producer& p = producers_[i];
      const Credit before = ledger_.granted(p.account);
      const bool granted = !(claims[i].grant == Credit{});
      if (!granted && claims[i].reason == p.reason) continue;
      p.reason = claims[i].reason;
      if (granted) {
        const Credit limit = ledger_.Grant(p.account, claims[i].grant, {window_, held_});
        raised += limit - before;
        p.audit += limit - before;
        p.waiting = {};
      }
      p.down.push_back({ledger_.granted(p.account), p.reason});
    }
    Audit("I13: granting");
    // A window that was lowered may be passed, but not further.
    const Credit used = ledger_.unspent() + held_;
    if ((raised.messages > 0 && used.messages > window_.messages) ||
        (raised.bytes > 0 && used.bytes > window_.bytes)) {
      Violate("I11: beyond the window");
    }
    if (stop_ != Reason::kNone && !(raised == Credit{}))
      Violate("a grant while grants are stopped");
  }

  // Nobody is granted anything before the one that has waited longest, and whoever
  // waits in vain is told why.
  void CheckTurns(const std::vector<Claim>& claims) {
    const Claim* first = nullptr;
    bool any = false;
    for (size_t i = 0; i < claims.size(); ++i) {
      const Claim& claim = claims[i];
      const Credit next{1, producers_[i].next_record_bytes};
      const bool waits = !(producers_[i].waiting == Credit{}) && !next.Within(claim.outstanding);
      any = any || !(claim.grant == Credit{});
      if (waits && claim.grant == Credit{} && claim.reason == Reason::kNone) {
        Violate("a wait without a reason");
      }
      const MonoNanos since = producers_[i].waiting_since;
      if (waits && (first == nullptr || since < first_since_)) {
        first = &claim;
        first_since_ = since;
      }
    }
    for (size_t i = 0; first != nullptr && i < claims.size(); ++i) {
      const bool tie =
          !(producers_[i].waiting == Credit{}) && producers_[i].waiting_since == first_since_;
      if (any && first->grant == Credit{} && !tie && !(claims[i].grant == Credit{})) {
        return Violate("I15: the longest waiter was passed over");
      }
    }
  }

  Random random_;
  LedgerT ledger_;
  PolicyT policy_;
  Credit base_window_;
  Credit window_;
  uint64_t max_message_ = 0;
  Reason stop_ = Reason::kNone;
  bool consumer_stalls_ = false;
  MonoNanos now_ = 1;
  std::vector<Producer> producers_;
  std::deque<uint64_t> held_records_;
  Credit held_;
  uint64_t records_received_ = 0;
  MonoNanos first_since_ = 0;
  std::string violation_;
};

}  // namespace spillway::credit
