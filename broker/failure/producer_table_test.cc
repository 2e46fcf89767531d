#include "broker/failure/producer_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/base/random.h"

namespace spillway::failure {
namespace {

using Verdict = ProducerTable::Verdict;

// Of one of many producers.
std::string Id(uint64_t i) { return "p" + std::to_string(i); }

TEST(ProducerTable, TakesTheNextSequenceAndNoOther) {
  ProducerTable table;
  EXPECT_EQ(table.Open("p", 1), 1u);
  EXPECT_EQ(table.Judge("p", 1, 1, 3).verdict, Verdict::kNew);
  table.Accepted("p", 1, 3, 100);
  EXPECT_EQ(table.Judge("p", 1, 4, 1).verdict, Verdict::kNew);
  const auto gap = table.Judge("p", 1, 5, 1);
  EXPECT_EQ(gap.verdict, Verdict::kGap);
  EXPECT_EQ(gap.expected, 4u);
  EXPECT_EQ(table.Judge("p", 1, 3, 2).verdict, Verdict::kStraddles);
  EXPECT_EQ(table.Judge("p", 1, 0, 1).verdict, Verdict::kGap);  // sequences begin at 1
  EXPECT_EQ(table.Judge("p", 1, 1, UINT64_MAX).verdict, Verdict::kStraddles);
  EXPECT_EQ(table.Judge("nobody", 1, 1, 1).verdict, Verdict::kFenced);
}

TEST(ProducerTable, ADuplicateGetsTheOffsetsItHas) {
  ProducerTable table;
  table.Open("p", 1);
  table.Accepted("p", 1, 3, 100);
  table.Accepted("p", 4, 2, 103);  // continues: one run
  table.Accepted("p", 6, 2, 200);  // others wrote in between
  const auto judgement = table.Judge("p", 1, 2, 5);
  ASSERT_EQ(judgement.verdict, Verdict::kDuplicate);
  ASSERT_EQ(judgement.runs.size(), 2u);
  EXPECT_EQ(judgement.runs[0].first_sequence, 2u);
  EXPECT_EQ(judgement.runs[0].count, 4u);
  EXPECT_EQ(judgement.runs[0].first_offset, 101u);
  EXPECT_EQ(judgement.runs[1].first_sequence, 6u);
  EXPECT_EQ(judgement.runs[1].count, 1u);
  EXPECT_EQ(judgement.runs[1].first_offset, 200u);
}

TEST(ProducerTable, WhatWasRefusedIsNeverTakenForADuplicate) {
  ProducerTable table;
  table.Open("p", 1);
  table.Accepted("p", 1, 2, 100);
  table.Refused("p", 3, 2);
  table.Accepted("p", 5, 1, 102);
  table.Refused("p", 6, 1);
  const auto check = [](const ProducerTable& t) {
    const auto judgement = t.Judge("p", 1, 1, 6);
    ASSERT_EQ(judgement.runs.size(), 4u);
    EXPECT_FALSE(judgement.runs[0].refused);
    EXPECT_TRUE(judgement.runs[1].refused);
    EXPECT_EQ(judgement.runs[1].first_sequence, 3u);
    EXPECT_EQ(judgement.runs[1].count, 2u);
    EXPECT_FALSE(judgement.runs[2].refused);
    EXPECT_TRUE(judgement.runs[3].refused);
  };
  check(table);
  ProducerTable copy;
  ASSERT_TRUE(copy.Decode(table.Encode()));
  check(copy);
  // A restart without a snapshot sees the hole as well.
  ProducerTable replayed;
  replayed.Replayed("p", 1, 1, 2, 100);
  replayed.Replayed("p", 1, 5, 1, 102);
  const auto judgement = replayed.Judge("p", 1, 3, 2);
  ASSERT_EQ(judgement.runs.size(), 1u);
  EXPECT_TRUE(judgement.runs[0].refused);
}

TEST(ProducerTable, ANewerEpochFencesTheOlder) {
  ProducerTable table;
  table.Open("p", 5);
  table.Accepted("p", 1, 1, 7);
  EXPECT_EQ(table.Open("p", 6), 2u);
  EXPECT_EQ(table.Judge("p", 5, 2, 1).verdict, Verdict::kFenced);
  EXPECT_EQ(table.Judge("p", 6, 2, 1).verdict, Verdict::kNew);
  // An open of an old epoch that comes late changes nothing.
  EXPECT_EQ(table.Open("p", 4, 50), 2u);
  EXPECT_EQ(table.Judge("p", 4, 2, 1).verdict, Verdict::kFenced);
  EXPECT_EQ(table.Judge("p", 6, 2, 1).verdict, Verdict::kNew);
  // And so does the end of an old stream.
  table.Disconnect("p", 5);
  EXPECT_EQ(table.Judge("p", 6, 1, 1).verdict, Verdict::kDuplicate);
}

TEST(ProducerTable, ResumingMovesPastWhatIsSettled) {
  ProducerTable table;
  table.Open("p", 1);
  table.Accepted("p", 1, 10, 100);
  EXPECT_EQ(table.Open("p", 2, 5), 11u);  // unconfirmed from 5 on: duplicates
  EXPECT_EQ(table.Judge("p", 2, 5, 6).runs[0].first_offset, 104u);
  EXPECT_EQ(table.Open("p", 3, 31), 31u);  // the broker forgot 11 to 30
  EXPECT_EQ(table.Judge("p", 3, 31, 1).verdict, Verdict::kNew);
  const auto old = table.Judge("p", 3, 1, 30);
  ASSERT_EQ(old.runs.size(), 1u);
  EXPECT_FALSE(old.runs[0].known);
  EXPECT_FALSE(old.runs[0].refused);
}

TEST(ProducerTable, ForgetsOffsetsOfLongAgo) {
  ProducerTable table;
  table.Open("p", 1);
  for (uint64_t i = 0; i < ProducerTable::kMaxRuns + 10; ++i) {
    table.Accepted("p", 1 + i, 1, 10 * i);
  }
  const auto judgement = table.Judge("p", 1, 10, 2);
  ASSERT_EQ(judgement.runs.size(), 2u);
  EXPECT_FALSE(judgement.runs[0].known);
  EXPECT_FALSE(judgement.runs[0].refused);
  EXPECT_TRUE(judgement.runs[1].known);
  EXPECT_EQ(judgement.runs[1].first_offset, 100u);
}

// Each snapshot has them all.
TEST(ProducerTable, TheRunsOfManyProducersAreBounded) {
  ProducerTable table;
  constexpr uint64_t kProducers = 100;
  constexpr uint64_t kEach = 500;
  // In turns: no frame follows the one before of the same producer.
  for (uint64_t p = 0; p < kProducers; ++p) table.Open(Id(p), 1);
  for (uint64_t n = 0; n < kEach; ++n) {
    for (uint64_t p = 0; p < kProducers; ++p) {
      table.Accepted(Id(p), 1 + n, 1, n * kProducers + p);
      ASSERT_LE(table.runs(), ProducerTable::kMaxRunsOfAll);
    }
  }
  constexpr uint64_t kKept = ProducerTable::kMaxRunsOfAll / 2 / kProducers;
  for (uint64_t p = 0; p < kProducers; ++p) {
    const auto judgement = table.Judge(Id(p), 1, 1, kEach);
    EXPECT_EQ(judgement.verdict, Verdict::kDuplicate);
    ASSERT_GT(judgement.runs.size(), kKept);
    EXPECT_FALSE(judgement.runs[0].known);
    for (size_t r = 1; r < judgement.runs.size(); ++r) {
      const SequenceRun& run = judgement.runs[r];
      EXPECT_TRUE(run.known);
      EXPECT_EQ(run.first_offset, (run.first_sequence - 1) * kProducers + p);
    }
  }
  // What is forgotten with a producer, and a restart, are counted.
  ProducerTable other;
  ASSERT_TRUE(other.Decode(table.Encode()));
  EXPECT_EQ(other.runs(), table.runs());
  const size_t before = table.runs();
  table.Open(Id(0), 2, kEach + 1);
  EXPECT_LE(table.runs(), before - kKept);
}

// What is forgotten counts as accepted.
TEST(ProducerTable, ARefusalIsNotForgottenForWantOfPlace) {
  ProducerTable table;
  table.Open("refused", 1);
  table.Open("other", 1);
  table.Accepted("refused", 1, 1, 0);
  table.Refused("refused", 2, 3);
  constexpr uint64_t kOthers = 100;
  for (uint64_t p = 0; p < kOthers; ++p) table.Open(Id(p), 1);
  Offset offset = 1;
  const auto fill = [&](ProducerTable* t, uint64_t from, uint64_t to) {
    for (uint64_t n = from; n < to; ++n) {
      t->Accepted("refused", 5 + n, 1, offset++);
      t->Accepted("other", 1 + n, 1, offset++);
      for (uint64_t p = 0; p < kOthers; ++p) t->Accepted(Id(p), 1 + n, 1, offset++);
    }
  };
  fill(&table, 0, 400);
  const auto check = [](const ProducerTable& t) {
    EXPECT_FALSE(t.Judge("other", 1, 1, 1).runs[0].known);
    const auto judgement = t.Judge("refused", 1, 1, 5);
    ASSERT_EQ(judgement.runs.size(), 3u);
    EXPECT_TRUE(judgement.runs[1].refused);
    EXPECT_EQ(judgement.runs[1].count, 3u);
    EXPECT_TRUE(judgement.runs[2].known);
  };
  check(table);
  // A restart does not know more than the runs.
  ProducerTable restarted;
  ASSERT_TRUE(restarted.Decode(table.Encode()));
  restarted.Open("refused", 1);
  restarted.Open("other", 1);
  for (uint64_t p = 0; p < kOthers; ++p) restarted.Open(Id(p), 1);
  fill(&restarted, 400, 800);
  check(restarted);
  EXPECT_LE(restarted.runs(), 2 * ProducerTable::kMaxRunsOfAll);
}

// As many as may be known, each with a few.
TEST(ProducerTable, EachOfVeryManyProducersKeepsAFewRuns) {
  ProducerTable table;
  constexpr uint64_t kEach = 40;
  for (uint64_t p = 0; p < ProducerTable::kMaxProducers; ++p) table.Open(Id(p), 1);
  for (uint64_t n = 0; n < kEach; ++n) {
    for (uint64_t p = 0; p < ProducerTable::kMaxProducers; ++p) {
      table.Accepted(Id(p), 1 + n, 1, n * ProducerTable::kMaxProducers + p);
    }
  }
  EXPECT_LE(table.runs(), ProducerTable::kMaxRunsOfEach * ProducerTable::kMaxProducers);
  for (uint64_t p = 0; p < ProducerTable::kMaxProducers; ++p) {
    const auto last = table.Judge(Id(p), 1, kEach - 15, 16);
    ASSERT_EQ(last.runs.size(), 16u);
    EXPECT_TRUE(last.runs[0].known);
  }
}

TEST(ProducerTable, ForgetsWhoIsAwayLongest) {
  ProducerTable table;
  for (uint64_t i = 0; i < ProducerTable::kMaxProducers; ++i) {
    ASSERT_TRUE(table.Open(Id(i), 1));
    table.Accepted(Id(i), 1, 1, i);
  }
  EXPECT_EQ(table.Open("new", 1), std::nullopt);  // all are connected
  table.Disconnect(Id(7), 1);
  table.Disconnect(Id(3), 1);
  EXPECT_EQ(table.Open("new", 1), 1u);
  EXPECT_EQ(table.size(), ProducerTable::kMaxProducers);
  EXPECT_EQ(table.Judge(Id(7), 1, 1, 1).verdict, Verdict::kFenced);
  EXPECT_EQ(table.Judge(Id(3), 1, 1, 1).verdict, Verdict::kDuplicate);
}

TEST(ProducerTable, RefusesDamagedSnapshots) {
  ProducerTable table;
  table.Open("producer", 3);
  table.Accepted("producer", 1, 2, 100);
  table.Accepted("producer", 3, 2, 200);
  const std::string good = table.Encode();
  ProducerTable other;
  for (size_t length = 1; length < good.size(); ++length) {
    EXPECT_FALSE(other.Decode(good.substr(0, length))) << length;
    EXPECT_EQ(other.size(), 0u);
  }
  EXPECT_FALSE(other.Decode(good + "x"));
  std::string bad = good;
  bad[0] = 2;  // a version that is not known
  EXPECT_FALSE(other.Decode(bad));
  // A run of more than the sequences there are.
  bad = good;
  bad[bad.size() - 16] = 3;
  EXPECT_FALSE(other.Decode(bad));
  EXPECT_TRUE(other.Decode(""));
  EXPECT_TRUE(other.Decode(good));
  EXPECT_EQ(other.Encode(), good);
}

// Against a map of everything, with restarts from a snapshot and the log (I6).
struct History {
  std::map<uint64_t, std::optional<Offset>> sequences;  // nothing: refused
  uint64_t next = 1;
};

void CheckSame(const ProducerTable& table, const std::string& id, uint64_t epoch,
               const History& history, Random* random) {
  if (history.next == 1) return;
  const uint64_t first = 1 + random->Below(history.next - 1);
  const uint64_t count = 1 + random->Below(std::min<uint64_t>(20, history.next - first));
  const auto judgement = table.Judge(id, epoch, first, count);
  ASSERT_EQ(judgement.verdict, Verdict::kDuplicate);
  uint64_t at = first;
  for (const SequenceRun& run : judgement.runs) {
    ASSERT_EQ(run.first_sequence, at);
    for (uint64_t i = 0; i < run.count; ++i) {
      const std::optional<Offset>& offset = history.sequences.at(at + i);
      ASSERT_EQ(run.refused, !offset.has_value());
      if (offset) {
        ASSERT_TRUE(run.known);
        ASSERT_EQ(run.first_offset + i, *offset);
      }
    }
    at += run.count;
  }
  ASSERT_EQ(at, first + count);
}

TEST(ProducerTable, AgreesWithItsHistoryForEverySeed) {
  struct Entry {
    std::string id;
    uint64_t epoch, first, count;
    Offset offset;
  };
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    ProducerTable table;
    std::map<std::string, History> histories;
    std::map<std::string, uint64_t> epochs;
    std::string snapshot;
    std::vector<Entry> log;
    uint64_t epoch = 0;
    Offset tail = 0;
    for (int step = 0; step < 100; ++step) {
      const std::string id(1, static_cast<char>('a' + random.Below(4)));
      History& history = histories[id];
      if (!epochs.contains(id) || random.Below(10) == 0) {
        epochs[id] = ++epoch;
        ASSERT_EQ(table.Open(id, epoch), history.next);
      }
      const uint64_t count = 1 + random.Below(6);
      ASSERT_EQ(table.Judge(id, epochs[id], history.next, count).verdict, Verdict::kNew);
      // (One that is refused its very first is known to have been only by snapshots.)
      const bool refused = history.next > 1 && random.Below(6) == 0;
      for (uint64_t i = 0; i < count; ++i) {
        history.sequences[history.next + i] =
            refused ? std::nullopt : std::optional<Offset>(tail + i);
      }
      if (refused) {
        table.Refused(id, history.next, count);
      } else {
        table.Accepted(id, history.next, count, tail);
        log.push_back({id, epochs[id], history.next, count, tail});
        tail += count;
      }
      history.next += count;
      ASSERT_NO_FATAL_FAILURE(CheckSame(table, id, epochs[id], history, &random));
      if (random.Below(15) == 0) {
        snapshot = table.Encode();
        log.clear();
      }
      if (random.Below(15) == 0) {
        ProducerTable recovered;
        ASSERT_TRUE(recovered.Decode(snapshot));
        for (const Entry& e : log) recovered.Replayed(e.id, e.epoch, e.first, e.count, e.offset);
        table = std::move(recovered);
        for (auto& [name, other] : histories) {
          epochs[name] = ++epoch;
          const auto next = table.Open(name, epoch);
          // What was refused last left no trace; it may be sent again.
          while (other.next > *next) {
            ASSERT_FALSE(other.sequences.at(--other.next).has_value());
            other.sequences.erase(other.next);
          }
          ASSERT_EQ(other.next, *next);
          ASSERT_NO_FATAL_FAILURE(CheckSame(table, name, epoch, other, &random));
        }
      }
    }
  }
}

}  // namespace
}  // namespace spillway::failure
