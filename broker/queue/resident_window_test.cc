#include "broker/queue/resident_window.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "broker/queue/model/records.h"

namespace spillway::queue {
namespace {

Batch MakeBatch(Offset first, size_t count, UnixMillis at = 0) {
  Batch batch;
  batch.first = first;
  batch.appended_at = at;
  batch.records = model::MakeRecords(std::vector<std::string>(count, "payload"));
  return batch;
}

// Three batches of two records, from offset 10 on.
ResidentWindow Three() {
  ResidentWindow window(10);
  for (Offset first = 10; first < 16; first += 2) window.Append(MakeBatch(first, 2, first * 100));
  return window;
}

TEST(ResidentWindow, FindsByOffsetAndTime) {
  const ResidentWindow window = Three();
  EXPECT_EQ(window.Find(9), nullptr);
  EXPECT_EQ(window.Find(10)->first, 10u);
  EXPECT_EQ(window.Find(13)->first, 12u);
  EXPECT_EQ(window.Find(15)->first, 14u);
  EXPECT_EQ(window.Find(16), nullptr);
  EXPECT_EQ(ResidentWindow(10).Find(10), nullptr);
  EXPECT_EQ(window.FindTime(0)->first, 10u);
  EXPECT_EQ(window.FindTime(1'001)->first, 12u);
  EXPECT_EQ(window.FindTime(1'401), nullptr);
}

TEST(ResidentWindow, EvictsOnlyWhatIsStored) {
  ResidentWindow window = Three();
  EXPECT_FALSE(window.CanEvict(10));
  EXPECT_EQ(window.NextToStore()->first, 10u);
  window.MarkStoring();
  EXPECT_EQ(window.NextToStore()->first, 12u);
  EXPECT_FALSE(window.CanEvict(16)) << "on its way";
  EXPECT_EQ(window.MarkStored(100).first, 10u);
  EXPECT_TRUE(window.CanEvict(0));
  window.EvictFront();
  EXPECT_EQ(window.begin(), 12u);
  EXPECT_EQ(window.stored_end(), 12u);
  EXPECT_FALSE(window.CanEvict(12));
  EXPECT_EQ(window.Find(11), nullptr);
  EXPECT_EQ(window.Find(12)->first, 12u);
}

TEST(ResidentWindow, EvictsWhatNobodyNeedsThoughItIsNotStored) {
  ResidentWindow window = Three();
  EXPECT_FALSE(window.CanEvict(11)) << "half of the batch is needed";
  EXPECT_TRUE(window.CanEvict(12));
  window.EvictFront();
  EXPECT_EQ(window.begin(), 12u);
  EXPECT_EQ(window.stored_end(), 12u);
  EXPECT_EQ(window.storing_end(), 12u);
  EXPECT_EQ(window.NextToStore()->first, 12u);
}

TEST(ResidentWindow, SumsNeverDrift) {
  ResidentWindow window = Three();
  const uint64_t one = ResidentWindow::Footprint(MakeBatch(0, 2));
  EXPECT_EQ(window.footprint_bytes(), 3 * one);
  EXPECT_EQ(window.unstored_footprint_bytes(), 3 * one);
  window.MarkStoring();
  window.MarkStoring();
  EXPECT_EQ(window.storing_footprint_bytes(), 2 * one);
  window.MarkStored(100);
  EXPECT_EQ(window.storing_footprint_bytes(), one);
  EXPECT_EQ(window.unstored_footprint_bytes(), 2 * one);
  EXPECT_EQ(window.unstored_messages(), 4u);
  window.MarkStored(101);
  window.EvictFront();
  window.EvictFront();
  window.EvictFront();
  EXPECT_EQ(window.footprint_bytes(), 0u);
  EXPECT_EQ(window.unstored_footprint_bytes(), 0u);
  EXPECT_EQ(window.storing_footprint_bytes(), 0u);
  EXPECT_EQ(window.messages(), 0u);
  EXPECT_EQ(window.end(), 16u);
  EXPECT_FALSE(window.CanEvict(16));
}

}  // namespace
}  // namespace spillway::queue
