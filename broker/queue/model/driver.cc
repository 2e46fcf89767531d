#include "broker/queue/model/driver.h"

#include <algorithm>
#include <memory>

#include "broker/queue/model/driver_impl.h"

namespace spillway::queue::model {
namespace {

constexpr int kMaxDrainRounds = 5'000;

Tuning TestTuning() {
  Tuning tuning;
  tuning.durability = Durability::kSynced;
  tuning.retention = Retention::kUntilSettled;
  return tuning;
}

}  // namespace

Driver::Driver(uint64_t seed, Fault fault)
    : random_(seed),
      fault_(fault),
      tuning_(TestTuning()),
      rules_{.max_attempts = 3,
             .ack_deadline = 30 * kMillis,
             .backoff = [](uint32_t attempt) { return attempt * kMillis; }},
      log_(&random_),
      auditor_(&rules_),
      lane_(std::make_unique<FaultyLane>(tuning_, fault)) {}

RunResult Driver::Run(int operations) {
  AddGroup();
  AddMember();
  for (int i = 0; i < operations && Good(); ++i) {
    Step();
    if (i % 8 == 0) CheckAll();
  }
  if (Good() && Chance(50)) Crash();
  if (Good()) Drain();
  counts_.acked = auditor_.acked();
  return {auditor_.failure(), history_, counts_};
}

void Driver::Step() {
  struct Op {
    uint64_t weight;
    void (*run)(Driver&);
  };
  static constexpr Op kOps[] = {
      {22, [](Driver& d) { d.Publish(); }},
      {12,
       [](Driver& d) {
         d.Store({d.Between(0, 60), d.Between(0, 3'000)});
       }},
      {14, [](Driver& d) { d.CompleteSome(4); }},
      {5, [](Driver& d) { d.Evict(); }},
      {2, [](Driver& d) { d.Reserve(); }},
      {3, [](Driver& d) { d.Snapshot(); }},
      {5, [](Driver& d) { d.lane().groups().empty() ? d.AddGroup() : d.SaveGroup(""); }},
      {2, [](Driver& d) { d.ChangeTuning(); }},
      {1, [](Driver& d) { d.AddGroup(); }},
      {1, [](Driver& d) { d.Chance(25) ? d.RemoveGroup() : d.AddMember(); }},
      {3, [](Driver& d) { d.AddMember(); }},
      {26, [](Driver& d) { d.DeliverSome(); }},
      {24, [](Driver& d) { d.SettleSome(); }},
      {4, [](Driver& d) { d.ExtendSome(); }},
      {2, [](Driver& d) { d.Leave(); }},
      {8, [](Driver& d) { d.Tick(); }},
      {1, [](Driver& d) { d.Seek(); }},
      {2, [](Driver& d) { d.Release(); }},
      {10, [](Driver& d) { d.FinishRead(true); }},
      {2, [](Driver& d) { d.OpenAReader(); }},
      {8, [](Driver& d) { d.ReadSome(); }},
      {4, [](Driver& d) { d.Remove(); }},
      {1, [](Driver& d) { d.Crash(); }},
  };
  uint64_t total = 0;
  for (const Op& op : kOps) total += op.weight;
  uint64_t pick = random_.Below(total);
  for (const Op& op : kOps) {
    if (pick < op.weight) {
      Note(static_cast<uint64_t>(&op - kOps));
      op.run(*this);
      return;
    }
    pick -= op.weight;
  }
}

// ---- Checks ----------------------------------------------------------------

void Driver::CheckAll() {
  if (!Good()) return;
  const Lane& core = lane();
  const ResidentWindow& window = core.window();
  auditor_.Check(core.tail() == auditor_.tail(), "I2: another tail");
  auditor_.Check(core.head() == auditor_.head(), "another head");
  auditor_.Check(core.head() <= core.visible_end() && core.visible_end() <= core.tail(),
                 "head, visible end and tail are out of order");
  auditor_.Compare(core);
  uint64_t footprint = 0, unstored = 0;
  for (Offset at = window.begin(); at < window.end() && Good();) {
    const Batch* batch = window.Find(at);
    if (batch == nullptr || batch->first != at) return auditor_.Fail("a hole in the window");
    footprint += ResidentWindow::Footprint(*batch);
    if (at >= window.stored_end()) unstored += ResidentWindow::Footprint(*batch);
    for (uint32_t i = 0; i < batch->records.count(); ++i) {
      auditor_.Check(batch->records.Body(i) == auditor_.body(at + i), "I2: another body");
    }
    at = batch->end();
  }
  auditor_.Check(window.footprint_bytes() == footprint, "the footprint drifted");
  auditor_.Check(window.unstored_footprint_bytes() == unstored, "the unstored bytes drifted");
  for (Offset at = core.head(); at < window.begin(); at += Between(1, 7)) {
    if (!auditor_.lost(at) && !log_.Has(at)) return auditor_.Fail("I1: kept nowhere");
  }
}

// ---- The end ---------------------------------------------------------------

void Driver::Drain() {
  while (!members_.empty() && Good()) Leave();
  members_.clear();
  for (const auto& [name, group] : lane().groups()) members_.push_back({next_member_++, name});
  const Credit all{kUnlimited, kUnlimited};
  for (int round = 0; Good(); ++round) {
    if (round == kMaxDrainRounds) return auditor_.Fail("I15: does not drain");
    bool progress = !reads_.empty();
    while (!reads_.empty()) FinishRead(false);
    Store({});
    while (!log_.idle() && Good()) log_.CompleteOne();
    bool done = lane().visible_end() == lane().tail();
    progress |= !done;
    for (const auto& reader : readers_) {
      if (Good()) progress |= ReadOnce(*reader, all, all);
      done &= reader->reader.stopped || reader->reader.next >= lane().tail();
    }
    for (const Member& member : members_) {
      if (Good()) progress |= DeliverTo(member, all, all);
      for (const OffsetRange& range : auditor_.HeldBy(member.group, member.id)) {
        const auto stale =
            lane_->Settle(GroupOf(member), range, member.id, SettleAction::kAck, 0, now_, rules_);
        auditor_.Settled(member.group, range, member.id, SettleAction::kAck, 0, now_, stale);
      }
      done &= auditor_.Drained(member.group);
    }
    if (done) break;
    if (progress || !reads_.empty()) continue;
    // What is left waits for its time.
    for (const auto& [name, group] : lane().groups()) {
      const MonoNanos at = group->next_deadline();
      if (at < now_.mono + 1'000'000 * kMillis) now_.mono = std::max(now_.mono, at);
    }
    Tick();
  }
  CheckAll();
  auditor_.CheckAllTold();
  Note(lane().tail());
}

Counts& Counts::operator+=(const Counts& o) {
  acked += o.acked;
  delivered += o.delivered;
  redelivered += o.redelivered;
  read_by_readers += o.read_by_readers;
  disk_reads += o.disk_reads;
  lost_gaps += o.lost_gaps;
  removal_gaps += o.removal_gaps;
  parked += o.parked;
  reclaimed += o.reclaimed;
  revoked += o.revoked;
  evicted += o.evicted;
  trims += o.trims;
  crashes += o.crashes;
  return *this;
}

RunResult RunModel(uint64_t seed, int operations, Fault fault) {
  return Driver(seed, fault).Run(operations);
}

}  // namespace spillway::queue::model
