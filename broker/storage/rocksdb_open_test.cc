// Which folders are opened, and why others are refused.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "broker/storage/rocksdb_harness.h"

namespace spillway::storage {

namespace {

using contract::Driver;
using contract::Held;
using contract::MakeRecord;
using ::testing::HasSubstr;

TEST(RocksDbOpen, AFolderIsOpenOnce) {
  RocksDbHarness h;
  const auto second = RocksDbStore::Open(h.options());
  EXPECT_EQ(second.err, OpenErr::kInUse) << second.message;
  EXPECT_FALSE(second.store);
}

TEST(RocksDbOpen, ANewerFormatIsRefused) {
  RocksDbHarness h;
  h.Close();
  std::ofstream(h.path() + "/FORMAT") << "spillway-storage 2\n";
  EXPECT_EQ(h.Open(), OpenErr::kNewerFormat);
  EXPECT_THAT(h.message(), HasSubstr("format 2"));
}

TEST(RocksDbOpen, AFolderOfSomeoneElseIsLeftAlone) {
  TempFolder folder;
  std::ofstream(folder.path() + "/thesis.txt") << "x";
  const auto opened = RocksDbStore::Open(SmallOptions(folder.path()));
  EXPECT_EQ(opened.err, OpenErr::kCannotCreate) << opened.message;
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(RocksDbOpen, AFileIsNoFolder) {
  TempFolder folder;
  std::ofstream(folder.path() + "/file") << "x";
  EXPECT_EQ(RocksDbStore::Open(SmallOptions(folder.path() + "/file")).err, OpenErr::kCannotCreate);
}

TEST(RocksDbOpen, TooLittleDiskIsRefused) {
  TempFolder folder;
  RocksDbOptions o = SmallOptions(folder.path() + "/data");
  o.disk_floor_bytes = 1000;
  o.disk_space = [](const std::string&) {
    return DiskSpace{.free_bytes = 200, .total_bytes = 9999};
  };
  EXPECT_EQ(RocksDbStore::Open(o).err, OpenErr::kNotEnoughDisk);
}

TEST(RocksDbOpen, WhatBelongsToAFolderMustBeThere) {
  for (const char* name : {"/FORMAT", "/mark", "/db/CURRENT", "/db"}) {
    RocksDbHarness h;
    {
      Driver drive(h);
      Held held = drive.Acquire(kLane);
      drive.Append(*held.owner, MakeRecord("x"));
    }
    h.Close();
    std::filesystem::remove_all(h.path() + name);
    EXPECT_EQ(h.Open(), OpenErr::kCorrupt) << name << ": " << h.message();
  }
}

TEST(RocksDbOpen, AnInterruptedCreationIsTakenUp) {
  RocksDbHarness h;
  h.Close();
  std::filesystem::remove(h.path() + "/FORMAT");
  EXPECT_EQ(h.Open(), OpenErr::kNone) << h.message();
}

}  // namespace
}  // namespace spillway::storage
