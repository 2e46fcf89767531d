#include "broker/storage/memory_store.h"

#include <gmock/gmock.h>

#include "broker/storage/log_store_contract.h"

namespace spillway::storage {
namespace {

using contract::MakeRecord;
using ::testing::ElementsAre;

class MemoryHarness final : public contract::Harness {
 public:
  explicit MemoryHarness(MemoryOptions options)
      : manual_(options.manual), store_(std::make_unique<MemoryStore>(options)) {}
  LogStore& store() override { return *store_; }
  void Run() override {
    if (manual_) store_->RunAll();
  }
  // There is no disk: a new store with the same contents.
  void Reopen() override { store_ = store_->CrashClone(Level::kProcess); }
  bool Crash(Level level) override {
    store_ = store_->CrashClone(level, level == Level::kFsync ? store_->unsynced() / 2 : 0);
    return true;
  }
  bool parallel() const override { return false; }

 private:
  const bool manual_;
  std::unique_ptr<MemoryStore> store_;
};

contract::Param MemoryParam(std::string name, bool manual, uint64_t seed) {
  return {std::move(name), [manual, seed](const contract::Limits& limits) {
            return std::make_unique<MemoryHarness>(
                MemoryOptions{.manual = manual,
                              .max_pending_bytes = limits.max_pending_bytes,
                              .max_record_bytes = limits.max_record_bytes,
                              .seed = seed});
          }};
}

}  // namespace

namespace contract {
INSTANTIATE_TEST_SUITE_P(Memory, LogStoreContract,
                         ::testing::Values(MemoryParam("Manual", true, 0),
                                           MemoryParam("Shuffled", true, 42),
                                           MemoryParam("Threaded", false, 0)),
                         ParamName);
}  // namespace contract

namespace {

std::unique_ptr<Owner> Take(MemoryStore& store, LaneId lane, std::vector<std::string>* bodies) {
  std::unique_ptr<Owner> taken;
  store.Acquire(
      lane,
      [bodies](const Entry& e) {
        if (bodies != nullptr) bodies->emplace_back(e.body.view());
        return true;
      },
      [&taken](Err, std::unique_ptr<Owner> owner) { taken = std::move(owner); });
  store.RunAll();
  return taken;
}

TEST(MemoryStore, NothingRunsByItself) {
  MemoryStore store;
  auto owner = Take(store, {1, 0}, nullptr);
  int done = 0;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(owner->Append(MakeRecord("x"), Level::kFsync, [&](Err, Position) { ++done; }),
              Err::kOk);
  }
  EXPECT_EQ(done, 0);
  EXPECT_EQ(store.waiting(), 3u);
  EXPECT_TRUE(store.RunOne());
  EXPECT_EQ(done, 1);
  EXPECT_EQ(store.RunAll(), 2u);
  EXPECT_EQ(done, 3);
  EXPECT_FALSE(store.RunOne());
}

TEST(MemoryStore, ACrashLosesWhatItsLevelAllows) {
  MemoryStore store;
  auto owner = Take(store, {1, 0}, nullptr);
  const auto append = [&](std::string_view body, Level level) {
    owner->Append(MakeRecord(body), level, [](Err, Position) {});
  };
  append("synced", Level::kFsync);
  append("written 1", Level::kProcess);
  append("written 2", Level::kProcess);
  store.RunAll();
  append("waiting", Level::kFsync);
  EXPECT_EQ(store.unsynced(), 2u);

  const auto left = [&](Level level, size_t kept) {
    auto clone = store.CrashClone(level, kept);
    std::vector<std::string> bodies;
    Take(*clone, {1, 0}, &bodies);
    return bodies;
  };
  EXPECT_THAT(left(Level::kProcess, 0), ElementsAre("synced", "written 1", "written 2"));
  EXPECT_THAT(left(Level::kFsync, 0), ElementsAre("synced"));
  EXPECT_THAT(left(Level::kFsync, 1), ElementsAre("synced", "written 1"));
}

TEST(MemoryStore, ALostTrimBringsBackWhatItTook) {
  MemoryStore store;
  auto owner = Take(store, {1, 0}, nullptr);
  owner->Append(MakeRecord("x"), Level::kFsync, [](Err, Position) {});
  owner->Trim(UINT64_MAX, [](Err, Position) {});
  store.RunAll();
  std::vector<std::string> bodies;
  auto clone = store.CrashClone(Level::kFsync);
  Take(*clone, {1, 0}, &bodies);
  EXPECT_THAT(bodies, ElementsAre("x"));
}

TEST(MemoryStore, APoisonedStoreFailsAllThatIsInFlight) {
  MemoryStore store;
  auto owner = Take(store, {1, 0}, nullptr);
  std::vector<Err> errs;
  std::string why;
  store.OnPoisoned([&](std::string w) { why = std::move(w); });
  owner->Append(MakeRecord("a"), Level::kFsync, [&](Err e, Position) { errs.push_back(e); });
  store.RunOne();
  owner->Append(MakeRecord("b"), Level::kFsync, [&](Err e, Position) { errs.push_back(e); });
  store.Poison("sync failed");
  EXPECT_EQ(owner->Append(MakeRecord("c"), Level::kFsync, [](Err, Position) { FAIL(); }),
            Err::kUnavailable);
  store.RunAll();
  EXPECT_THAT(errs, ElementsAre(Err::kOk, Err::kUnknown));
  EXPECT_EQ(why, "sync failed");
}

TEST(MemoryStore, ASeedRepeatsTheOrder) {
  const auto order = [](uint64_t seed) {
    MemoryStore store({.seed = seed});
    std::vector<std::unique_ptr<Owner>> owners;
    std::vector<uint32_t> done;
    owners.reserve(8);
    for (uint32_t i = 0; i < 8; ++i) owners.push_back(Take(store, {i, 0}, nullptr));
    for (int n = 0; n < 4; ++n) {
      for (uint32_t i = 0; i < 8; ++i) {
        owners[i]->Append(MakeRecord("x"), Level::kFsync,
                          [&done, i](Err, Position) { done.push_back(i); });
      }
    }
    store.RunAll();
    return done;
  };
  EXPECT_EQ(order(5), order(5));
  EXPECT_NE(order(5), order(6));
  EXPECT_NE(order(5), order(0));
}

}  // namespace
}  // namespace spillway::storage
