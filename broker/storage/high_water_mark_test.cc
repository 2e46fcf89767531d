#include "broker/storage/high_water_mark.h"

#include <fstream>

#include <fcntl.h>

#include <gmock/gmock.h>

#include "broker/storage/manifest_watch.h"
#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(HighWaterMark, IsReadBack) {
  TempFolder folder;
  {
    auto mark = HighWaterMark::Create(folder.path(), 0);
    ASSERT_TRUE(mark);
    EXPECT_EQ(mark->mark().sequence, 0u);
    EXPECT_TRUE(mark->Synced(7));
    EXPECT_TRUE(mark->Written(9));
    mark->Recovered(9, 1234);
    EXPECT_TRUE(mark->SetManifest(5, 600, 42));
  }
  auto mark = HighWaterMark::Open(folder.path(), 0);
  ASSERT_TRUE(mark);
  EXPECT_EQ(mark->mark().sequence, 7u);
  EXPECT_EQ(mark->mark().written, 9u);
  EXPECT_EQ(mark->mark().boot, 1234u);
  EXPECT_EQ(mark->mark().manifest_number, 5u);
  EXPECT_EQ(mark->mark().manifest_bytes, 600u);
  EXPECT_EQ(mark->mark().manifest_crc, 42u);
}

TEST(HighWaterMark, ATornSlotLeavesTheOneBefore) {
  for (const uint64_t damaged : {0, 1}) {
    TempFolder folder;
    auto mark = HighWaterMark::Create(folder.path(), 0);
    for (uint64_t n = 1; n <= 9; ++n) ASSERT_TRUE(mark->Synced(n));
    const Fd fd(::open((folder.path() + "/mark").c_str(), O_RDWR));
    ASSERT_TRUE(WriteAt(fd.get(), "torn", damaged * 4096 + 20));
    auto again = HighWaterMark::Open(folder.path(), 0);
    ASSERT_TRUE(again);
    EXPECT_GE(again->mark().sequence, 8u);
    EXPECT_LE(again->mark().sequence, 9u);
  }
}

TEST(HighWaterMark, WithoutAWholeSlotItIsRefused) {
  TempFolder folder;
  ASSERT_TRUE(HighWaterMark::Create(folder.path(), 0));
  std::filesystem::resize_file(folder.path() + "/mark", 10);
  EXPECT_FALSE(HighWaterMark::Open(folder.path(), 0));
}

TEST(CurrentBoot, StaysTheSame) { EXPECT_EQ(CurrentBoot(), CurrentBoot()); }

class ManifestWatchTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, std::string_view bytes) {
    std::ofstream(folder_.path() + "/" + name, std::ios::binary) << bytes;
  }
  std::string Check() { return ManifestWatch(folder_.path(), *mark_).Check(); }

  TempFolder folder_;
  std::unique_ptr<HighWaterMark> mark_ = HighWaterMark::Create(folder_.path(), 0);
};

TEST_F(ManifestWatchTest, TellsAShorterOrChangedOne) {
  Write("CURRENT", "MANIFEST-000005\n");
  Write("MANIFEST-000005", "first second");
  {
    ManifestWatch watch(folder_.path(), *mark_);
    EXPECT_THAT(watch.Check(), IsEmpty()) << "nothing is known yet";
    ASSERT_TRUE(watch.Refresh());
    Write("MANIFEST-000005", "first second third");
    ASSERT_TRUE(watch.Refresh());
  }
  EXPECT_THAT(Check(), IsEmpty());
  Write("MANIFEST-000005", "first second third fourth");
  EXPECT_THAT(Check(), IsEmpty()) << "it may have gone on";
  Write("MANIFEST-000005", "first second thi");
  EXPECT_THAT(Check(), HasSubstr("16 bytes of 18"));
  Write("MANIFEST-000005", "first secOnd third");
  EXPECT_THAT(Check(), HasSubstr("checksum"));
}

TEST_F(ManifestWatchTest, KnowsOlderFromNewer) {
  Write("CURRENT", "MANIFEST-000005\n");
  Write("MANIFEST-000005", "x");
  ASSERT_TRUE(ManifestWatch(folder_.path(), *mark_).Refresh());
  Write("MANIFEST-000009", "y");
  Write("CURRENT", "MANIFEST-000009\n");
  EXPECT_THAT(Check(), IsEmpty());
  Write("MANIFEST-000002", "z");
  Write("CURRENT", "MANIFEST-000002\n");
  EXPECT_THAT(Check(), HasSubstr("older"));
  Write("CURRENT", "MANIFEST-000005");
  EXPECT_THAT(Check(), HasSubstr("CURRENT"));
  Write("CURRENT", "MANIFEST-000007\n");
  EXPECT_THAT(Check(), HasSubstr("cannot be opened"));
}

}  // namespace
}  // namespace spillway::storage
