// Contract tests 19 and 20: entries that do not belong, or are missing.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "broker/storage/entry_table.h"
#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {

namespace {

using contract::Bodies;
using contract::Driver;
using contract::Held;
using contract::MakeRecord;
using contract::Page;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Changes the database behind the store's back. REQUIRES: the store is closed.
void Tamper(const std::string& path,
            const std::function<void(EntryTable&, rocksdb::WriteBatch&)>& change) {
  std::unique_ptr<EntryTable> table;
  rocksdb::Status s = EntryTable::Open(path + "/db", {}, &table);
  ASSERT_TRUE(s.ok()) << s.ToString();
  rocksdb::WriteBatch batch;
  change(*table, batch);
  s = table->Write(batch, true);
  ASSERT_TRUE(s.ok()) << s.ToString();
}

void PutEntry(EntryTable& table, rocksdb::WriteBatch& batch, Position position, Position previous,
              Epoch epoch, const Record& record) {
  const EntryKey key(kLane, position);
  const EncodedHeader header = EncodeHeader(
      key, {.kind = record.kind, .epoch = epoch, .previous = previous, .count = 1}, record);
  table.Put(batch, key, header, record);
}

// A harness whose lane holds "a", "b", "c" by one owner, and is closed; the file
// that the mark watches changes when tampered with, so it starts a new one.
struct Tampered {
  Tampered() {
    contract::Driver drive(h);
    Held held = drive.Acquire(kLane);
    epoch = held.owner->epoch();
    for (const char* body : {"a", "b", "c"}) {
      at.push_back(drive.Append(*held.owner, MakeRecord(body)).position);
    }
    held.owner.reset();
    h.options().on_damage = [this](std::string why) { damage = std::move(why); };
    h.Close();
  }
  RocksDbHarness h;
  Epoch epoch = 0;
  std::vector<Position> at;
  std::string damage;
};

TEST(RocksDbEntries, OnesOfAnotherEpochAreIgnored) {
  for (const Epoch foreign : {Epoch{0}, Epoch{77}}) {
    Tampered t;
    Tamper(t.h.path(), [&](EntryTable& table, rocksdb::WriteBatch& batch) {
      PutEntry(table, batch, t.at[2] + 1, t.at[2], foreign, MakeRecord("zombie"));
    });
    ASSERT_EQ(t.h.Open(), OpenErr::kNone) << t.h.message();
    Driver drive(t.h);
    EXPECT_THAT(Bodies(drive.Read(kLane, 0).entries), ElementsAre("a", "b", "c"));
    Held held = drive.Acquire(kLane);
    EXPECT_THAT(Bodies(held.replayed), ElementsAre("a", "b", "c"));
    EXPECT_EQ(drive.Append(*held.owner, MakeRecord("d")).err, Err::kOk);
    EXPECT_THAT(Bodies(drive.Read(kLane, 0).entries), ElementsAre("a", "b", "c", "d"));
  }
}

TEST(RocksDbEntries, AMissingOneIsCorrupt) {
  Tampered t;
  Tamper(t.h.path(), [&](EntryTable& table, rocksdb::WriteBatch& batch) {
    table.Delete(batch, Family::kData, kLane, t.at[1], t.at[1] + 1);
  });
  ASSERT_EQ(t.h.Open(), OpenErr::kNone) << t.h.message();
  Driver drive(t.h);
  // What is before it can be read; it is not passed over.
  const Page before = drive.Read(kLane, 0);
  EXPECT_EQ(before.err, Err::kOk);
  EXPECT_THAT(Bodies(before.entries), ElementsAre("a"));
  EXPECT_EQ(drive.Read(kLane, before.next).err, Err::kCorrupt);
  EXPECT_THAT(t.damage, HasSubstr("missing"));
  EXPECT_EQ(drive.Acquire(kLane).err, Err::kCorrupt);
  // Other lanes are served.
  EXPECT_EQ(drive.Acquire({9, 0}).err, Err::kOk);
}

TEST(RocksDbEntries, AChangedOneIsCorrupt) {
  Tampered t;
  Tamper(t.h.path(), [&](EntryTable& table, rocksdb::WriteBatch& batch) {
    // A whole entry, under another's key.
    const EntryKey key(kLane, t.at[2]);
    const Record record = MakeRecord("c");
    table.Put(batch, EntryKey(kLane, t.at[1]),
              EncodeHeader(key, {.epoch = t.epoch, .previous = t.at[0], .count = 1}, record),
              record);
  });
  ASSERT_EQ(t.h.Open(), OpenErr::kNone) << t.h.message();
  Driver drive(t.h);
  EXPECT_EQ(drive.Read(kLane, t.at[1]).err, Err::kCorrupt);
  EXPECT_THAT(t.damage, HasSubstr("checksum"));
  EXPECT_EQ(drive.Acquire(kLane).err, Err::kCorrupt);
}

TEST(RocksDbEntries, AMissingSnapshotOrFenceIsCorrupt) {
  for (const bool fence : {true, false}) {
    Tampered t;
    ASSERT_EQ(t.h.Open(), OpenErr::kNone);
    Position snapshot = 0, fence_at = 0;
    {
      Driver drive(t.h);
      Held held = drive.Acquire(kLane);
      fence_at = t.at[2] + 1;
      snapshot = drive.Append(*held.owner, MakeRecord("s", 0, Kind::kSnapshot)).position;
    }
    t.h.Close();
    Tamper(t.h.path(), [&](EntryTable& table, rocksdb::WriteBatch& batch) {
      if (fence) {
        table.DeleteMeta(batch, FenceKey(kLane, fence_at));
      } else {
        table.Delete(batch, Family::kControl, kLane, snapshot, snapshot + 1);
      }
    });
    ASSERT_EQ(t.h.Open(), OpenErr::kNone) << t.h.message();
    Driver drive(t.h);
    EXPECT_EQ(drive.Acquire(kLane).err, Err::kCorrupt);
    EXPECT_THAT(t.damage, HasSubstr(fence ? "fence" : "snapshot"));
  }
}

}  // namespace
}  // namespace spillway::storage
