#include "broker/storage/log_store_contract.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <set>
#include <thread>

#include <gmock/gmock.h>

namespace spillway::storage::contract {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace {

constexpr LaneId kLane{7, 0};
constexpr LaneId kOther{7, 1};
constexpr std::chrono::seconds kPatience{30};

thread_local int inside_append = 0;

std::vector<Position> Positions(const std::vector<Entry>& entries) {
  std::vector<Position> out;
  out.reserve(entries.size());
  for (const Entry& e : entries) out.push_back(e.position);
  return out;
}

}  // namespace

Record MakeRecord(std::string_view body, Offset base_offset, Kind kind) {
  Record r;
  r.kind = kind;
  r.base_offset = base_offset;
  r.count = kind == Kind::kData ? 1 : 0;
  r.parts[0] = {wire::Buffer::Copy(body), 0, static_cast<uint32_t>(body.size())};
  return r;
}

Record MakeRecord(std::vector<std::string> parts, Offset base_offset) {
  Record r;
  r.base_offset = base_offset;
  r.count = static_cast<uint32_t>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    // Each part is the middle of its buffer.
    r.parts[i] = {wire::Buffer::Copy("<" + parts[i] + ">"), 1,
                  static_cast<uint32_t>(parts[i].size())};
  }
  return r;
}

std::vector<std::string> Bodies(const std::vector<Entry>& entries) {
  std::vector<std::string> out;
  out.reserve(entries.size());
  for (const Entry& e : entries) out.emplace_back(e.body.view());
  return out;
}

bool Driver::Until(const std::function<bool()>& ready) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!ready()) {
    harness_.Run();
    if (ready()) return true;
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << "the store did not call back";
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

namespace {

// A value that another thread sets. Shared with the callback, so that a callback
// that comes after the patience has ended meets no dead stack.
template <typename T>
class Slot {
 public:
  void Set(T value) {
    std::lock_guard lock(state_->mu);
    EXPECT_FALSE(state_->value.has_value()) << "called twice";
    state_->value = std::move(value);
  }
  bool ready() const {
    std::lock_guard lock(state_->mu);
    return state_->value.has_value();
  }
  T Take() {
    std::lock_guard lock(state_->mu);
    return std::move(*state_->value);
  }

 private:
  struct State {
    std::mutex mu;
    std::optional<T> value;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

Completion Into(Slot<Completed> slot) {
  return [slot](Err err, Position position) mutable { slot.Set({err, position}); };
}

Completed Await(Driver& driver, Slot<Completed> slot) {
  if (!driver.Until([&] { return slot.ready(); })) return {Err::kMisconfigured, 0};
  return slot.Take();
}

}  // namespace

Held Driver::Acquire(LaneId lane) {
  Slot<Held> slot;
  auto entries = std::make_shared<std::vector<Entry>>();
  harness_.store().Acquire(
      lane,
      [entries](const Entry& e) {
        entries->push_back(e);
        return true;
      },
      [slot, entries](Err err, std::unique_ptr<Owner> owner) mutable {
        slot.Set({err, std::move(owner), std::move(*entries)});
      });
  if (!Until([&] { return slot.ready(); })) return {.err = Err::kMisconfigured};
  return slot.Take();
}

Completed Driver::Append(Owner& owner, const Record& record, Level level) {
  Slot<Completed> slot;
  const Err accepted = owner.Append(record, level, Into(slot));
  if (accepted != Err::kOk) return {accepted, 0};
  return Await(*this, slot);
}
Completed Driver::Barrier(Owner& owner) {
  Slot<Completed> slot;
  owner.Barrier(Into(slot));
  return Await(*this, slot);
}
Completed Driver::Trim(Owner& owner, Position upto) {
  Slot<Completed> slot;
  owner.Trim(upto, Into(slot));
  return Await(*this, slot);
}
Completed Driver::Remove(LaneId lane) {
  Slot<Completed> slot;
  harness_.store().Remove(lane, Into(slot));
  return Await(*this, slot);
}
Page Driver::Read(LaneId lane, Position from, size_t max_bytes) {
  Slot<Page> slot;
  harness_.store().Read(lane, from, max_bytes,
                        [slot](Err err, std::vector<Entry> entries, Position next) mutable {
                          slot.Set({err, std::move(entries), next});
                        });
  if (!Until([&] { return slot.ready(); })) return {.err = Err::kMisconfigured};
  return slot.Take();
}

// ---- 1: the replay is what was appended ------------------------------------

TEST_P(LogStoreContract, AnEmptyLaneReplaysNothing) {
  Start();
  Held h = drive().Acquire(kLane);
  EXPECT_EQ(h.err, Err::kOk);
  ASSERT_TRUE(h.owner);
  EXPECT_GT(h.owner->epoch(), 0u);
  EXPECT_THAT(h.replayed, IsEmpty());
  const Page page = drive().Read(kLane, 0);
  EXPECT_EQ(page.err, Err::kOk);
  EXPECT_EQ(page.next, 0u);
}

TEST_P(LogStoreContract, ReplayIsWhatWasAppended) {
  Start();
  Held h = drive().Acquire(kLane);
  ASSERT_TRUE(h.owner);
  const Epoch epoch = h.owner->epoch();
  std::vector<Position> positions;
  const auto append = [&](const Record& r, Level level) {
    const Completed c = drive().Append(*h.owner, r, level);
    EXPECT_EQ(c.err, Err::kOk);
    positions.push_back(c.position);
  };
  append(MakeRecord("first", 0), Level::kProcess);
  append(MakeRecord({"a", "bc", "def"}, 1), Level::kFsync);
  append(MakeRecord("cursor", 0, Kind::kControl), Level::kFsync);
  append(MakeRecord("", 4), Level::kProcess);
  append(MakeRecord(std::string("\0\xff\0", 3), 5), Level::kFsync);
  h.owner.reset();
  for (int i = 0; i < 2; ++i) {
    if (i == 1) harness_->Reopen();
    Held again = drive().Acquire(kLane);
    ASSERT_EQ(again.err, Err::kOk);
    EXPECT_GT(again.owner->epoch(), epoch);
    EXPECT_THAT(Bodies(again.replayed),
                ElementsAre("first", "abcdef", "cursor", "", std::string("\0\xff\0", 3)));
    EXPECT_EQ(Positions(again.replayed), positions);
    EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
    EXPECT_GT(positions.front(), 0u);
    EXPECT_EQ(again.replayed[1].base_offset, 1u);
    EXPECT_EQ(again.replayed[1].count, 3u);
    EXPECT_EQ(again.replayed[1].epoch, epoch);
    EXPECT_EQ(again.replayed[1].kind, Kind::kData);
    EXPECT_EQ(again.replayed[2].kind, Kind::kControl);
  }
}

TEST_P(LogStoreContract, LanesDoNotMix) {
  Start();
  const std::vector<LaneId> lanes = {{1, 0}, {1, 1}, {2, 0}, {256, 0}, {0, 0}, {UINT32_MAX, 5}};
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < lanes.size(); ++i) {
      Held h = drive().Acquire(lanes[i]);
      ASSERT_EQ(h.err, Err::kOk);
      ASSERT_EQ(h.replayed.size(), static_cast<size_t>(round));
      for (const Entry& e : h.replayed) EXPECT_EQ(e.body.view(), "lane " + std::to_string(i));
      drive().Append(*h.owner, MakeRecord("lane " + std::to_string(i)), Level::kProcess);
    }
  }
}

TEST_P(LogStoreContract, AReplayThatIsRefusedStopsTheAcquire) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("one"));
    drive().Append(*h.owner, MakeRecord("two"));
  }
  Slot<Err> slot;
  auto seen = std::make_shared<std::atomic<int>>(0);
  store().Acquire(
      kLane,
      [seen](const Entry&) {
        ++*seen;
        return false;
      },
      [slot](Err err, std::unique_ptr<Owner> owner) mutable {
        EXPECT_FALSE(owner);
        slot.Set(err);
      });
  ASSERT_TRUE(drive().Until([&] { return slot.ready(); }));
  EXPECT_EQ(slot.Take(), Err::kCorrupt);
  EXPECT_EQ(*seen, 1);
}

// ---- 2: completions --------------------------------------------------------

TEST_P(LogStoreContract, CompletionsComeOnceInOrderAndNeverInsideTheCall) {
  Start({.max_pending_bytes = size_t{64} << 20});
  Held a = drive().Acquire(kLane), b = drive().Acquire(kOther);
  ASSERT_TRUE(a.owner && b.owner);
  struct Log {
    std::mutex mu;
    std::map<LaneId, std::vector<std::pair<int, Position>>> done;
    size_t count = 0;
    bool inside = false;
  };
  auto log = std::make_shared<Log>();
  constexpr int kEach = 1500;
  for (int i = 0; i < kEach; ++i) {
    for (auto [lane, owner] : {std::pair{kLane, a.owner.get()}, {kOther, b.owner.get()}}) {
      const Level level = (i * 7 + lane.partition) % 3 == 0 ? Level::kFsync : Level::kProcess;
      ++inside_append;
      const Err err = owner->Append(MakeRecord(std::to_string(i)), level,
                                    [log, i, lane = lane](Err err, Position p) {
                                      EXPECT_EQ(err, Err::kOk);
                                      std::lock_guard lock(log->mu);
                                      log->inside |= inside_append > 0;
                                      log->done[lane].push_back({i, p});
                                      ++log->count;
                                    });
      --inside_append;
      ASSERT_EQ(err, Err::kOk);
    }
  }
  ASSERT_TRUE(drive().Until([&] {
    std::lock_guard lock(log->mu);
    return log->count == 2 * kEach;
  }));
  EXPECT_FALSE(log->inside);
  for (const auto& [lane, done] : log->done) {
    ASSERT_EQ(done.size(), static_cast<size_t>(kEach));
    for (int i = 0; i < kEach; ++i) {
      ASSERT_EQ(done[i].first, i);
      ASSERT_TRUE(i == 0 || done[i].second > done[i - 1].second);
    }
  }
  EXPECT_EQ(store().stats().pending_bytes, 0u);
}

// ---- 3: what was acknowledged survives -------------------------------------

TEST_P(LogStoreContract, AcknowledgedSurvivesAKill) {
  Start();
  std::vector<std::string> bodies;
  for (int round = 0; round < 4; ++round) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    ASSERT_EQ(Bodies(h.replayed), bodies);
    for (int i = 0; i < 20; ++i) {
      bodies.push_back(std::to_string(round) + "." + std::to_string(i));
      ASSERT_EQ(drive()
                    .Append(*h.owner, MakeRecord(bodies.back()),
                            i % 2 != 0 ? Level::kFsync : Level::kProcess)
                    .err,
                Err::kOk);
    }
    h.owner.reset();
    if (!harness_->Crash(Level::kProcess)) GTEST_SKIP() << "cannot be shown with this store";
  }
}

TEST_P(LogStoreContract, SyncedSurvivesAPowerFailure) {
  Start();
  std::vector<std::string> bodies;
  for (int round = 0; round < 4; ++round) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    // What was not synced may be there or not; what was synced is.
    std::vector<std::string> replayed = Bodies(h.replayed);
    ASSERT_GE(replayed.size(), bodies.size());
    replayed.resize(bodies.size());
    ASSERT_EQ(replayed, bodies);
    bodies = Bodies(h.replayed);
    for (int i = 0; i < 20; ++i) {
      bodies.push_back(std::to_string(round) + "." + std::to_string(i));
      ASSERT_EQ(drive()
                    .Append(*h.owner, MakeRecord(bodies.back()),
                            i % 2 != 0 ? Level::kFsync : Level::kProcess)
                    .err,
                Err::kOk);
    }
    drive().Append(*h.owner, MakeRecord("not synced"), Level::kProcess);
    h.owner.reset();
    if (!harness_->Crash(Level::kFsync)) GTEST_SKIP() << "cannot be shown with this store";
  }
}

// ---- 5 to 11: ownership ----------------------------------------------------

TEST_P(LogStoreContract, AcquireStealsFromALiveOwner) {
  Start();
  Held old = drive().Acquire(kLane);
  ASSERT_EQ(drive().Append(*old.owner, MakeRecord("old")).err, Err::kOk);
  Slot<bool> lost;
  old.owner->OnLost([lost]() mutable { lost.Set(true); });
  Held fresh = drive().Acquire(kLane);
  ASSERT_EQ(fresh.err, Err::kOk);
  EXPECT_GT(fresh.owner->epoch(), old.owner->epoch());
  EXPECT_TRUE(drive().Until([&] { return lost.ready(); }));
  EXPECT_EQ(drive().Append(*old.owner, MakeRecord("zombie")).err, Err::kFenced);
  EXPECT_EQ(drive().Barrier(*old.owner).err, Err::kFenced);
  EXPECT_EQ(drive().Append(*fresh.owner, MakeRecord("new")).err, Err::kOk);
  fresh.owner.reset();
  EXPECT_THAT(Bodies(drive().Acquire(kLane).replayed), ElementsAre("old", "new"));
}

TEST_P(LogStoreContract, OnLostAfterTheLossIsCalledToo) {
  Start();
  Held old = drive().Acquire(kLane);
  Held fresh = drive().Acquire(kLane);
  ASSERT_EQ(drive().Barrier(*old.owner).err, Err::kFenced);
  Slot<bool> lost;
  old.owner->OnLost([lost]() mutable { lost.Set(true); });
  EXPECT_TRUE(drive().Until([&] { return lost.ready(); }));
}

// 6, 7, 8, 18: an owner with appends in flight is robbed of its lane, 50 times.
TEST_P(LogStoreContract, NothingPassesTheFence) {
  Start();
  Held h = drive().Acquire(kLane);
  ASSERT_TRUE(h.owner);
  size_t confirmed_before = 0;
  for (int round = 0; round < 50; ++round) {
    struct Log {
      std::mutex mu;
      std::vector<std::pair<std::string, Completed>> done;
    };
    auto log = std::make_shared<Log>();
    int accepted = 0;
    Slot<Held> slot;
    for (int i = 0; i < 30; ++i) {
      const std::string body = std::to_string(round) + "." + std::to_string(i);
      const Err err =
          h.owner->Append(MakeRecord(body), i % 3 == 0 ? Level::kFsync : Level::kProcess,
                          [log, body](Err err, Position p) {
                            std::lock_guard lock(log->mu);
                            log->done.push_back({body, {err, p}});
                          });
      accepted += err == Err::kOk ? 1 : 0;
      if (i == (round % 29)) {
        auto entries = std::make_shared<std::vector<Entry>>();
        store().Acquire(
            kLane,
            [entries](const Entry& e) {
              entries->push_back(e);
              return true;
            },
            [slot, entries](Err err, std::unique_ptr<Owner> owner) mutable {
              slot.Set({err, std::move(owner), std::move(*entries)});
            });
        if (round % 2 != 0) std::this_thread::sleep_for(std::chrono::microseconds(round * 20));
      }
    }
    ASSERT_TRUE(drive().Until([&] {
      std::lock_guard lock(log->mu);
      return slot.ready() && log->done.size() == static_cast<size_t>(accepted);
    }));
    Held next = slot.Take();
    ASSERT_EQ(next.err, Err::kOk);
    std::vector<std::string> confirmed;
    bool failed = false;
    for (const auto& [body, c] : log->done) {
      if (c.err == Err::kOk) {
        EXPECT_FALSE(failed) << "confirmed after a failure";
        confirmed.push_back(body);
      } else {
        EXPECT_EQ(c.err, Err::kFenced);
        failed = true;
      }
    }
    // The new owner was given exactly what was, or will be, confirmed.
    const std::vector<std::string> replayed = Bodies(next.replayed);
    ASSERT_EQ(replayed.size(), confirmed_before + confirmed.size());
    EXPECT_TRUE(std::equal(confirmed.begin(), confirmed.end(),
                           replayed.begin() + static_cast<ptrdiff_t>(confirmed_before)));
    confirmed_before = replayed.size();
    h.owner->Append(MakeRecord("state of a zombie", 0, Kind::kSnapshot), Level::kFsync,
                    [](Err err, Position) { EXPECT_NE(err, Err::kOk); });
    h = std::move(next);
  }
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("the owner is well")).err, Err::kOk);
}

TEST_P(LogStoreContract, OfRacingAcquiresOneSurvives) {
  Start();
  for (int round = 0; round < 10; ++round) {
    std::vector<Slot<Held>> slots(4);
    for (auto& slot : slots) {
      store().Acquire(
          kLane, [](const Entry&) { return true; },
          [slot](Err err, std::unique_ptr<Owner> owner) mutable {
            slot.Set({err, std::move(owner), {}});
          });
    }
    std::vector<Held> held;
    for (auto& slot : slots) {
      ASSERT_TRUE(drive().Until([&] { return slot.ready(); }));
      held.push_back(slot.Take());
    }
    std::set<Epoch> epochs;
    Epoch highest = 0, survivor = 0;
    int alive = 0;
    for (Held& h : held) {
      EXPECT_TRUE(h.err == Err::kOk || h.err == Err::kFenced);
      if (!h.owner) continue;
      EXPECT_TRUE(epochs.insert(h.owner->epoch()).second);
      highest = std::max(highest, h.owner->epoch());
      if (drive().Append(*h.owner, MakeRecord("x"), Level::kProcess).err == Err::kOk) {
        ++alive;
        survivor = h.owner->epoch();
      }
    }
    EXPECT_EQ(alive, 1);
    EXPECT_EQ(survivor, highest);
  }
}

TEST_P(LogStoreContract, TwentyStealsInARow) {
  Start();
  Epoch last = 0;
  for (size_t i = 0; i < 20; ++i) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    EXPECT_GT(h.owner->epoch(), last);
    last = h.owner->epoch();
    EXPECT_EQ(h.replayed.size(), i);
    EXPECT_EQ(drive().Append(*h.owner, MakeRecord(std::to_string(i))).err, Err::kOk);
  }
}

TEST_P(LogStoreContract, EpochsRiseAcrossLanesAndReopenings) {
  Start();
  std::set<Epoch> seen;
  for (int i = 0; i < 6; ++i) {
    const LaneId lane = i % 2 != 0 ? kLane : kOther;
    Held h = drive().Acquire(lane);
    ASSERT_EQ(h.err, Err::kOk);
    EXPECT_TRUE(seen.empty() || h.owner->epoch() > *seen.rbegin());
    seen.insert(h.owner->epoch());
    h.owner.reset();
    if (i % 3 == 2) harness_->Reopen();
  }
}

TEST_P(LogStoreContract, AfterTheFirstErrorAllAreRefused) {
  Start();
  Held old = drive().Acquire(kLane);
  Held fresh = drive().Acquire(kLane);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(drive().Append(*old.owner, MakeRecord("late"), Level::kProcess).err, Err::kFenced);
  }
}

// ---- 13, 21: limits --------------------------------------------------------

TEST_P(LogStoreContract, TheLargestRecordFitsAndOneByteMoreDoesNot) {
  Start({.max_pending_bytes = size_t{1} << 20, .max_record_bytes = size_t{2} << 20});
  Held h = drive().Acquire(kLane);
  const size_t largest = store().capabilities().max_record_bytes;
  ASSERT_EQ(largest, size_t{2} << 20);
  // Taken though it alone is more than what may be pending.
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord(std::string(largest, 'L'))).err, Err::kOk);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord(std::string(largest + 1, 'M'))).err,
            Err::kTooLarge);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("after")).err, Err::kOk);
  const Page page = drive().Read(kLane, 0);
  ASSERT_EQ(page.entries.size(), 2u);
  EXPECT_EQ(page.entries[0].body.view(), std::string(largest, 'L'));
  EXPECT_EQ(page.entries[1].body.view(), "after");
}

TEST_P(LogStoreContract, OverloadedHasNoEffectAndDrains) {
  Start({.max_pending_bytes = size_t{256} << 10});
  Held h = drive().Acquire(kLane);
  EXPECT_EQ(h.owner->room(), size_t{256} << 10);
  const std::string body(size_t{32} << 10, 'x');
  auto completed = std::make_shared<std::atomic<int>>(0);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 2000 && refused == 0; ++i) {
    const Err err = h.owner->Append(MakeRecord(body, static_cast<Offset>(accepted)), Level::kFsync,
                                    [completed](Err err, Position) {
                                      EXPECT_EQ(err, Err::kOk);
                                      ++*completed;
                                    });
    if (err == Err::kOk) {
      ++accepted;
    } else {
      EXPECT_EQ(err, Err::kOverloaded);
      ++refused;
    }
  }
  EXPECT_EQ(refused, 1) << "the store took everything";
  Slot<bool> drained;
  h.owner->OnDrain([drained]() mutable { drained.Set(true); });
  ASSERT_TRUE(drive().Until([&] { return drained.ready(); }));
  EXPECT_GE(h.owner->room(), size_t{128} << 10);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("last", static_cast<Offset>(accepted))).err,
            Err::kOk);
  EXPECT_EQ(*completed, accepted);
  const Page page = drive().Read(kLane, 0);
  ASSERT_EQ(page.entries.size(), static_cast<size_t>(accepted) + 1);
  for (size_t i = 0; i < page.entries.size(); ++i) EXPECT_EQ(page.entries[i].base_offset, i);
}

TEST_P(LogStoreContract, OnDrainWithRoomIsCalledSoon) {
  Start();
  Held h = drive().Acquire(kLane);
  Slot<bool> drained;
  h.owner->OnDrain([drained]() mutable { drained.Set(true); });
  EXPECT_TRUE(drive().Until([&] { return drained.ready(); }));
}

TEST_P(LogStoreContract, ALevelThatIsNotReachedIsRefused) {
  Start();
  Held h = drive().Acquire(kLane);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("x"), Level::kQuorumFsync).err,
            Err::kMisconfigured);
  EXPECT_EQ(drive().Append(*h.owner, MakeRecord("x", 0, Kind::kFence)).err, Err::kMisconfigured);
}

// ---- 14: barrier -----------------------------------------------------------

TEST_P(LogStoreContract, BarrierFollowsWhatWasAppended) {
  Start();
  Held h = drive().Acquire(kLane);
  auto done = std::make_shared<std::atomic<int>>(0);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(h.owner->Append(MakeRecord("x"), i % 2 != 0 ? Level::kFsync : Level::kProcess,
                              [done](Err, Position) { ++*done; }),
              Err::kOk);
  }
  Slot<int> at_barrier;
  h.owner->Barrier([done, at_barrier](Err err, Position) mutable {
    EXPECT_EQ(err, Err::kOk);
    at_barrier.Set(*done);
  });
  ASSERT_TRUE(drive().Until([&] { return at_barrier.ready(); }));
  EXPECT_EQ(at_barrier.Take(), 100);
}

// ---- 15 to 18: trim and snapshots ------------------------------------------

TEST_P(LogStoreContract, TrimIsMonotoneAndReadingBelowSaysTrimmed) {
  Start();
  Held h = drive().Acquire(kLane);
  std::vector<Position> p;
  p.reserve(10);
  for (int i = 0; i < 10; ++i) {
    p.push_back(drive().Append(*h.owner, MakeRecord(std::to_string(i))).position);
  }
  EXPECT_EQ(drive().Trim(*h.owner, p[4]).err, Err::kOk);
  EXPECT_EQ(drive().Trim(*h.owner, p[2]).err, Err::kOk);
  h.owner.reset();
  for (int i = 0; i < 2; ++i) {
    if (i == 1) harness_->Reopen();
    const Page below = drive().Read(kLane, p[3]);
    EXPECT_EQ(below.err, Err::kTrimmed);
    EXPECT_THAT(below.entries, IsEmpty());
    EXPECT_EQ(below.next, p[4]);
    EXPECT_EQ(drive().Read(kLane, 0).err, Err::kTrimmed);
    const Page above = drive().Read(kLane, below.next);
    EXPECT_EQ(above.err, Err::kOk);
    EXPECT_THAT(Bodies(above.entries), ElementsAre("4", "5", "6", "7", "8", "9"));
    Held again = drive().Acquire(kLane);
    EXPECT_EQ(again.err, Err::kOk);
    EXPECT_THAT(Bodies(again.replayed), ElementsAre("4", "5", "6", "7", "8", "9"));
  }
}

TEST_P(LogStoreContract, PositionsRiseAfterAllIsTrimmed) {
  Start();
  Position last = 0;
  for (int round = 0; round < 4; ++round) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    EXPECT_THAT(h.replayed, IsEmpty());
    const Completed c = drive().Append(*h.owner, MakeRecord("x"));
    EXPECT_GT(c.position, last);
    last = c.position;
    EXPECT_EQ(drive().Trim(*h.owner, last + 1).err, Err::kOk);
    h.owner.reset();
    if (round % 2 != 0) harness_->Reopen();
  }
}

TEST_P(LogStoreContract, TrimPastTheEndTakesNothingThatComesLater) {
  Start();
  Held h = drive().Acquire(kLane);
  drive().Append(*h.owner, MakeRecord("gone"));
  EXPECT_EQ(drive().Trim(*h.owner, UINT64_MAX).err, Err::kOk);
  const Completed kept = drive().Append(*h.owner, MakeRecord("kept"));
  EXPECT_EQ(kept.err, Err::kOk);
  EXPECT_THAT(Bodies(drive().Read(kLane, kept.position).entries), ElementsAre("kept"));
  h.owner.reset();
  harness_->Reopen();
  EXPECT_THAT(Bodies(drive().Acquire(kLane).replayed), ElementsAre("kept"));
}

TEST_P(LogStoreContract, AStaleOwnersTrimHasNoEffect) {
  Start();
  Held old = drive().Acquire(kLane);
  const Position p = drive().Append(*old.owner, MakeRecord("kept")).position;
  Held fresh = drive().Acquire(kLane);
  EXPECT_EQ(drive().Trim(*old.owner, p + 1).err, Err::kFenced);
  EXPECT_THAT(Bodies(drive().Read(kLane, p).entries), ElementsAre("kept"));
}

TEST_P(LogStoreContract, ReplayBeginsAtTheLastSnapshot) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("d1"));
    drive().Append(*h.owner, MakeRecord("c1", 0, Kind::kControl));
    drive().Append(*h.owner, MakeRecord("s1", 0, Kind::kSnapshot));
    drive().Append(*h.owner, MakeRecord("d2"));
    drive().Append(*h.owner, MakeRecord("s2", 0, Kind::kSnapshot));
    drive().Append(*h.owner, MakeRecord("c2", 0, Kind::kControl));
    drive().Append(*h.owner, MakeRecord("d3"));
  }
  for (int i = 0; i < 2; ++i) {
    if (i == 1) harness_->Reopen();
    Held h = drive().Acquire(kLane);
    EXPECT_THAT(Bodies(h.replayed), ElementsAre("s2", "c2", "d3"));
    EXPECT_EQ(h.replayed[0].kind, Kind::kSnapshot);
    // The data before it is still there to be read.
    EXPECT_THAT(Bodies(drive().Read(kLane, 0).entries), ElementsAre("d1", "d2", "d3"));
  }
}

TEST_P(LogStoreContract, TrimKeepsWhatFollowsTheLastSnapshot) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("c1", 0, Kind::kControl));
    drive().Append(*h.owner, MakeRecord("s1", 0, Kind::kSnapshot));
    drive().Append(*h.owner, MakeRecord("d1"));
    drive().Append(*h.owner, MakeRecord("c2", 0, Kind::kControl));
    const Position p = drive().Append(*h.owner, MakeRecord("d2")).position;
    ASSERT_EQ(drive().Trim(*h.owner, p).err, Err::kOk);
    drive().Append(*h.owner, MakeRecord("c3", 0, Kind::kControl));
  }
  for (int i = 0; i < 3; ++i) {
    if (i == 1) harness_->Reopen();
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk);
    EXPECT_THAT(Bodies(h.replayed), ElementsAre("s1", "c2", "d2", "c3"));
    h.owner.reset();
  }
}

TEST_P(LogStoreContract, WithoutASnapshotTrimKeepsControlEntries) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("c1", 0, Kind::kControl));
    const Position p = drive().Append(*h.owner, MakeRecord("d1")).position;
    ASSERT_EQ(drive().Trim(*h.owner, p + 1).err, Err::kOk);
  }
  harness_->Reopen();
  EXPECT_THAT(Bodies(drive().Acquire(kLane).replayed), ElementsAre("c1"));
}

TEST_P(LogStoreContract, SnapshotAndTrimOverManyOwners) {
  Start();
  std::vector<std::string> kept;
  for (int round = 0; round < 12; ++round) {
    Held h = drive().Acquire(kLane);
    ASSERT_EQ(h.err, Err::kOk) << round;
    ASSERT_EQ(Bodies(h.replayed), kept) << round;
    const std::string n = std::to_string(round);
    drive().Append(*h.owner, MakeRecord("d" + n), Level::kProcess);
    kept.push_back("d" + n);
    if (round % 3 == 1) {
      const Completed s =
          drive().Append(*h.owner, MakeRecord("s" + n, 0, Kind::kSnapshot), Level::kFsync);
      kept = {"s" + n};
      ASSERT_EQ(drive().Trim(*h.owner, s.position).err, Err::kOk);
    }
    drive().Append(*h.owner, MakeRecord("c" + n, 0, Kind::kControl), Level::kProcess);
    kept.push_back("c" + n);
    h.owner.reset();
    if (round % 4 == 3) harness_->Reopen();
  }
}

// ---- reading ---------------------------------------------------------------

TEST_P(LogStoreContract, ReadGoesPageByPage) {
  Start();
  Held h = drive().Acquire(kLane);
  for (int i = 0; i < 25; ++i) {
    drive().Append(*h.owner,
                   MakeRecord(std::string(100, static_cast<char>('a' + i)), static_cast<Offset>(i)),
                   Level::kProcess);
    if (i % 5 == 0) {
      drive().Append(*h.owner, MakeRecord("control", 0, Kind::kControl), Level::kProcess);
    }
  }
  Offset expected = 0;
  Position from = 0;
  for (;;) {
    const Page page = drive().Read(kLane, from, 350);
    ASSERT_EQ(page.err, Err::kOk);
    if (page.entries.empty()) {
      EXPECT_EQ(page.next, from);
      break;
    }
    EXPECT_LE(page.entries.size(), 3u);
    for (const Entry& e : page.entries) {
      EXPECT_EQ(e.kind, Kind::kData);
      EXPECT_EQ(e.base_offset, expected++);
      EXPECT_GE(e.position, from);
    }
    EXPECT_GT(page.next, page.entries.back().position);
    from = page.next;
  }
  EXPECT_EQ(expected, 25u);
  // At least one entry, however small the page.
  EXPECT_EQ(drive().Read(kLane, 0, 1).entries.size(), 1u);
  EXPECT_EQ(drive().Read(kLane, 0, 0).entries.size(), 1u);
  // What comes later is found where the end was.
  drive().Append(*h.owner, MakeRecord("later"), Level::kProcess);
  EXPECT_THAT(Bodies(drive().Read(kLane, from).entries), ElementsAre("later"));
}

TEST_P(LogStoreContract, ReadNeedsNoOwner) {
  Start();
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("x"));
  }
  harness_->Reopen();
  EXPECT_THAT(Bodies(drive().Read(kLane, 0).entries), ElementsAre("x"));
}

// ---- removal ---------------------------------------------------------------

TEST_P(LogStoreContract, RemoveTakesOneLaneOnly) {
  Start();
  Epoch epoch = 0;
  for (LaneId lane : {kLane, kOther}) {
    Held h = drive().Acquire(lane);
    drive().Append(*h.owner, MakeRecord("data"));
    drive().Append(*h.owner, MakeRecord("state", 0, Kind::kSnapshot));
    drive().Append(*h.owner, MakeRecord("more"));
    epoch = h.owner->epoch();
  }
  EXPECT_EQ(drive().Remove(kLane).err, Err::kOk);
  for (int i = 0; i < 2; ++i) {
    if (i == 1) harness_->Reopen();
    EXPECT_THAT(drive().Read(kLane, 0).entries, IsEmpty());
    Held gone = drive().Acquire(kLane);
    ASSERT_EQ(gone.err, Err::kOk);
    EXPECT_THAT(gone.replayed, IsEmpty());
    EXPECT_GT(gone.owner->epoch(), epoch);
    EXPECT_THAT(Bodies(drive().Acquire(kOther).replayed), ElementsAre("state", "more"));
  }
  // The lane can be used again.
  {
    Held h = drive().Acquire(kLane);
    EXPECT_EQ(drive().Append(*h.owner, MakeRecord("again")).err, Err::kOk);
  }
  harness_->Reopen();
  EXPECT_THAT(Bodies(drive().Acquire(kLane).replayed), ElementsAre("again"));
}

TEST_P(LogStoreContract, RemovingALaneThatNeverWasIsFine) {
  Start();
  EXPECT_EQ(drive().Remove({99, 9}).err, Err::kOk);
}

// ---- 24: lanes do not wait for each other ----------------------------------

TEST_P(LogStoreContract, AStuckLaneDoesNotHoldTheOthers) {
  Start();
  if (!harness_->parallel()) GTEST_SKIP() << "the store does one thing at a time";
  {
    Held h = drive().Acquire(kLane);
    drive().Append(*h.owner, MakeRecord("x"));
  }
  std::promise<void> release;
  auto released = release.get_future().share();
  Slot<Held> stuck;
  store().Acquire(
      kLane,
      [released](const Entry&) {
        released.wait();
        return true;
      },
      [stuck](Err err, std::unique_ptr<Owner> owner) mutable {
        stuck.Set({err, std::move(owner), {}});
      });
  Held other = drive().Acquire(kOther);
  EXPECT_EQ(other.err, Err::kOk);
  EXPECT_EQ(drive().Append(*other.owner, MakeRecord("goes on")).err, Err::kOk);
  EXPECT_FALSE(stuck.ready());
  release.set_value();
  EXPECT_TRUE(drive().Until([&] { return stuck.ready(); }));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LogStoreContract);

}  // namespace spillway::storage::contract
