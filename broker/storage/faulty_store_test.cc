#include "broker/storage/faulty_store.h"

#include <gmock/gmock.h>

#include "broker/storage/log_store_contract.h"
#include "broker/storage/memory_store.h"

namespace spillway::storage {
namespace {

using contract::Bodies;
using contract::Driver;
using contract::Held;
using contract::MakeRecord;
using ::testing::ElementsAre;

constexpr LaneId kLane{1, 0};

// A memory store behind faults; with none it passes the whole contract.
class FaultyHarness final : public contract::Harness {
 public:
  explicit FaultyHarness(std::vector<FaultRule> rules, MemoryOptions options = {}) {
    Use(std::make_unique<MemoryStore>(options), std::move(rules));
  }
  LogStore& store() override { return *faulty_; }
  FaultyStore& faulty() { return *faulty_; }
  void Run() override { memory_->RunAll(); }
  void Reopen() override { Use(memory_->CrashClone(Level::kProcess), {}); }
  bool Crash(Level level) override {
    Use(memory_->CrashClone(level), {});
    return true;
  }
  bool parallel() const override { return false; }

 private:
  void Use(std::unique_ptr<MemoryStore> memory, std::vector<FaultRule> rules) {
    memory_ = memory.get();
    faulty_ = std::make_unique<FaultyStore>(std::move(memory), std::move(rules));
  }
  MemoryStore* memory_ = nullptr;
  std::unique_ptr<FaultyStore> faulty_;
};

}  // namespace

namespace contract {
INSTANTIATE_TEST_SUITE_P(Faulty, LogStoreContract,
                         ::testing::Values(Param{
                             "WithoutFaults",
                             [](const Limits& limits) {
                               return std::make_unique<FaultyHarness>(
                                   std::vector<FaultRule>{},
                                   MemoryOptions{.max_pending_bytes = limits.max_pending_bytes,
                                                 .max_record_bytes = limits.max_record_bytes});
                             }}),
                         ParamName);
}  // namespace contract

namespace {

FaultRule AtAppend(uint64_t nth, Fault fault) {
  return {.at = Call::kAppend, .nth = nth, .fault = fault};
}

// 12: after kUnknown the next owner finds the entry wholly, or never.
TEST(FaultyStore, UnknownEndsTheOwnerAndTheReplayDecides) {
  for (const bool kept : {true, false}) {
    FaultyHarness h({AtAppend(2, kept ? Fault::kUnknownWithEffect : Fault::kUnknownWithoutEffect)});
    Driver drive(h);
    Held held = drive.Acquire(kLane);
    EXPECT_EQ(drive.Append(*held.owner, MakeRecord("one")).err, Err::kOk);
    EXPECT_EQ(drive.Append(*held.owner, MakeRecord("two")).err, Err::kUnknown);
    EXPECT_EQ(drive.Append(*held.owner, MakeRecord("three")).err, Err::kUnavailable);
    EXPECT_EQ(drive.Barrier(*held.owner).err, Err::kUnknown);
    for (int i = 0; i < 2; ++i) {
      Held next = drive.Acquire(kLane);
      if (kept) {
        EXPECT_THAT(Bodies(next.replayed), ElementsAre("one", "two"));
      } else {
        EXPECT_THAT(Bodies(next.replayed), ElementsAre("one"));
      }
    }
    EXPECT_EQ(h.faulty().struck(), 1u);
  }
}

TEST(FaultyStore, RefusalsHaveNoEffect) {
  FaultyHarness h({AtAppend(1, Fault::kOverloaded), AtAppend(3, Fault::kUnavailable)});
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("a")).err, Err::kOverloaded);
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("b")).err, Err::kOk);
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("c")).err, Err::kUnavailable);
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("d")).err, Err::kOk);
  EXPECT_THAT(Bodies(drive.Read(kLane, 0).entries), ElementsAre("b", "d"));
}

TEST(FaultyStore, ADelayHoldsOneLaneInOrder) {
  FaultyHarness h(
      {{.at = Call::kAppend, .nth = 2, .fault = Fault::kDelay, .one_lane = true, .lane = kLane}});
  Driver drive(h);
  Held held = drive.Acquire(kLane), other = drive.Acquire({2, 0});
  std::vector<int> done;
  for (int i = 1; i <= 4; ++i) {
    held.owner->Append(MakeRecord("x"), Level::kFsync,
                       [&, i](Err, Position) { done.push_back(i); });
    h.Run();
  }
  EXPECT_THAT(done, ElementsAre(1));
  EXPECT_EQ(drive.Append(*other.owner, MakeRecord("y")).err, Err::kOk);
  EXPECT_EQ(h.faulty().held_back(), 3u);
  h.faulty().Release();
  EXPECT_THAT(done, ElementsAre(1, 2, 3, 4));
}

TEST(FaultyStore, AThiefFencesTheOwner) {
  FaultyHarness h({AtAppend(2, Fault::kFenced)});
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  bool lost = false;
  held.owner->OnLost([&] { lost = true; });
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("a")).err, Err::kOk);
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("b")).err, Err::kFenced);
  h.Run();
  EXPECT_TRUE(lost);
  EXPECT_THAT(Bodies(drive.Acquire(kLane).replayed), ElementsAre("a"));
}

TEST(FaultyStore, APoisonedStoreTakesNothingMore) {
  FaultyHarness h({AtAppend(2, Fault::kPoisoned)});
  Driver drive(h);
  Held held = drive.Acquire(kLane), other = drive.Acquire({2, 0});
  std::string why;
  h.faulty().OnPoisoned([&](std::string w) { why = std::move(w); });
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("a")).err, Err::kOk);
  EXPECT_EQ(drive.Append(*held.owner, MakeRecord("b")).err, Err::kUnknown);
  EXPECT_FALSE(why.empty());
  EXPECT_EQ(drive.Append(*other.owner, MakeRecord("c")).err, Err::kUnavailable);
  EXPECT_EQ(drive.Acquire({3, 0}).err, Err::kUnavailable);
  EXPECT_EQ(held.owner->room(), 0u);
}

TEST(FaultyStore, CorruptionIsMetByReadersAndReplays) {
  FaultyHarness h({{.at = Call::kRead, .nth = 2, .fault = Fault::kCorrupt},
                   {.at = Call::kAcquire, .nth = 2, .fault = Fault::kCorrupt}});
  Driver drive(h);
  Held held = drive.Acquire(kLane);
  drive.Append(*held.owner, MakeRecord("a"));
  EXPECT_EQ(drive.Read(kLane, 0).err, Err::kOk);
  EXPECT_EQ(drive.Read(kLane, 0).err, Err::kCorrupt);
  EXPECT_EQ(drive.Read(kLane, 0).err, Err::kOk);
  EXPECT_EQ(drive.Acquire(kLane).err, Err::kCorrupt);
  EXPECT_EQ(drive.Acquire(kLane).err, Err::kOk);
}

TEST(FaultyStore, RulesCanBeRead) {
  EXPECT_EQ(ToString({.at = Call::kAppend,
                      .nth = 3,
                      .fault = Fault::kUnknownWithEffect,
                      .one_lane = true,
                      .lane = {7, 1}}),
            "append 3 of lane 7/1: unknown, kept");
}

}  // namespace
}  // namespace spillway::storage
