// A lane with a disk of its own, for tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "broker/queue/lane.h"
#include "broker/queue/model/records.h"

namespace spillway::queue {

using Offsets = std::vector<Offset>;
using Ranges = std::vector<OffsetRange>;

inline constexpr Credit kAll{1'000'000, 1'000'000'000};
inline constexpr MemberId kAnn = 1, kBob = 2;

inline Tuning With(Durability durability, Retention retention = Retention::kUntilSettled) {
  Tuning tuning;
  tuning.durability = durability;
  tuning.retention = retention;
  return tuning;
}

// A lane with a disk of its own: position 100 + n is the n-th batch stored.
class LaneTest : public ::testing::Test {
 protected:
  explicit LaneTest(Durability durability = Durability::kSynced) : lane_(With(durability)) {}

  Offset Publish(size_t count, size_t bytes = 10) {
    const std::vector<std::string> bodies(count, std::string(bytes, 'x'));
    return lane_.Publish(model::MakeRecords(bodies), {}, now_);
  }
  void Store(const Credit& keep = {}) {
    while (const Batch* batch = lane_.NextToStore(keep)) {
      disk_.push_back(*batch);
      lane_.MarkStoring();
    }
    while (lane_.window().stored_end() < lane_.window().storing_end()) {
      lane_.Stored(100 + stored_++);
    }
  }
  // Publishes, stores and evicts.
  void Spill(size_t count, size_t bytes = 10) {
    Publish(count, bytes);
    Store();
    lane_.EvictTo(0, 0);
  }
  void Serve(const DiskRead& read, size_t most = 100) {
    ASSERT_NE(read.fetch, nullptr);
    read.fetch->Begin();
    std::deque<Batch> batches;
    size_t at = read.from - 100;
    for (; at < disk_.size() && batches.size() < most; ++at) batches.push_back(disk_[at]);
    ++reads_;
    read.fetch->Finish(std::move(batches), 100 + at);
  }
  Outcome Once(Group* group, MemberId member, const Credit& room = kAll, const Credit& max = kAll) {
    out_ = {};
    read_ = {};
    gap_.clear();
    return lane_.Deliver(*group, member, room, max, now_, 1'000, &out_, &read_, &gap_);
  }
  Outcome ReadOnce(Reader& reader, const Credit& room = kAll) {
    out_ = {};
    read_ = {};
    gap_.clear();
    return lane_.Read(reader, room, kAll, &out_, &read_, &gap_);
  }
  // All that a member can get, disk included; acknowledged if `ack`.
  Offsets Drain(Group* group, MemberId member, bool ack = true) {
    Offsets all;
    for (int i = 0; i < 1'000; ++i) {
      const Outcome outcome = Once(group, member);
      for (const Offset offset : model::OffsetsOf(out_)) all.push_back(offset);
      if (outcome == Outcome::kReadDisk) {
        Serve(read_, 2);
      } else if (outcome != Outcome::kDelivered) {
        break;
      }
    }
    if (ack) {
      for (const Offset offset : all) Ack(group, {offset, 1}, member);
    }
    return all;
  }
  // The lane as a restart finds it, before it replays: its state, and its group "g".
  Lane Restarted() {
    Lane again(lane_.tuning());
    again.Restore(lane_.state());
    again.AddGroup("g", GroupMode::kShared, 0)->Restore(lane_.FindGroup("g")->state());
    return again;
  }
  void Ack(Group* group, OffsetRange range, MemberId member) {
    group->Settle(range, member, SettleAction::kAck, 0, "", now_, rules_);
  }

  const RetryRules rules_{.max_attempts = 5, .backoff = [](uint32_t) { return MonoNanos{10}; }};
  Now now_{100, 5'000};
  Lane lane_;
  std::vector<Batch> disk_;
  uint64_t stored_ = 0;
  int reads_ = 0;
  wire::Delivery out_;
  DiskRead read_;
  Ranges gap_;
};

class MemoryLaneTest : public LaneTest {
 protected:
  MemoryLaneTest() : LaneTest(Durability::kMemory) {}
};

inline Offsets UpTo(Offset first, Offset end) {
  Offsets out;
  for (; first < end; ++first) out.push_back(first);
  return out;
}

}  // namespace spillway::queue
