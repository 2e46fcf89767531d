#include "broker/storage/wal_guard.h"

#include <fstream>

#include <gmock/gmock.h>
#include <rocksdb/write_batch.h>

#include "broker/storage/coding.h"
#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Option = rocksdb::WalFilter::WalProcessingOption;

class WalGuardTest : public ::testing::Test {
 protected:
  // A log of one record in pieces of so many bytes each, as RocksDB writes it.
  void WriteLog(int number, const std::vector<size_t>& pieces, size_t cut = 0) {
    std::string bytes;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const bool first = i == 0, last = i + 1 == pieces.size();
      std::string header(7, '\0');
      PutFixed(header.data() + 4, static_cast<uint16_t>(pieces[i]));
      header[6] = static_cast<char>(first && last ? 1 : first ? 2 : last ? 4 : 3);
      bytes += header + std::string(pieces[i], 'x');
    }
    bytes.resize(bytes.size() - cut);
    std::ofstream(folder_.path() + "/00000" + std::to_string(number) + ".log") << bytes;
  }
  // The guard is shown a record of each of these logs.
  std::string GapOf(const std::vector<int>& replayed, uint64_t needed_from) {
    WalGuard guard(folder_.path(), true);
    guard.ColumnFamilyLogNumberMap({{0, needed_from}, {1, needed_from + 3}}, {});
    uint64_t sequence = 100;
    for (const int log : replayed) {
      rocksdb::WriteBatch batch, changed_batch;
      std::ignore = batch.Put("key", "value");
      std::string bytes = batch.Data();
      PutFixed(bytes.data(), sequence++);
      bool changed = false;
      guard.LogRecordFound(static_cast<unsigned long long>(log), "log", rocksdb::WriteBatch(bytes),
                           &changed_batch, &changed);
    }
    return guard.gap();
  }

  TempFolder folder_;
};

constexpr size_t kWholeBlock = (32 << 10) - 7;

// RocksDB forgets from which log on it needs them when a family was empty, and a kill
// comes before what it is done with is deleted.
TEST_F(WalGuardTest, ALogThatIsDoneWithIsNoGap) {
  WriteLog(4, {10});
  WriteLog(5, {kWholeBlock, kWholeBlock, 3});
  WriteLog(7, {10});
  WriteLog(8, {10});
  EXPECT_THAT(GapOf({7, 8}, 4), IsEmpty());
}

TEST_F(WalGuardTest, ALogThatWasCutIsOne) {
  WriteLog(7, {10});
  WriteLog(8, {10});
  for (const size_t cut : {1, 4, 13, 17}) {
    WriteLog(4, {10}, cut);
    EXPECT_THAT(GapOf({7, 8}, 4), HasSubstr("log 4")) << cut;
  }
  WriteLog(4, {kWholeBlock, 3}, 3);
  EXPECT_THAT(GapOf({7, 8}, 4), HasSubstr("log 4"));
  EXPECT_THAT(GapOf({7, 8}, 5), IsEmpty()) << "not needed";
}

TEST_F(WalGuardTest, ALogBetweenThatWasPassedOverIsOne) {
  WriteLog(4, {10});
  WriteLog(7, {10});
  WriteLog(8, {10});
  EXPECT_THAT(GapOf({4, 8}, 4), HasSubstr("log 7"));
  EXPECT_THAT(GapOf({4, 7, 8}, 4), IsEmpty());
}

}  // namespace
}  // namespace spillway::storage
