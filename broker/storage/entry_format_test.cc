#include "broker/storage/entry_format.h"

#include <gtest/gtest.h>

#include "broker/storage/crc32c.h"
#include "broker/storage/log_store_contract.h"

namespace spillway::storage {
namespace {

std::string Value(const EntryKey& key, const EntryHeader& header, const Record& record) {
  const EncodedHeader h = EncodeHeader(key, header, record);
  std::string value(h.data(), h.size());
  for (const auto& part : record.parts) value += part.view();
  return value;
}

TEST(Crc32c, KnownValues) {
  // RFC 3720, B.4.
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32c, PortableIsTheSameAndGoesOn) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    bytes.push_back(static_cast<char>(i * 37));
    EXPECT_EQ(Crc32c(bytes), internal::Crc32cPortable(bytes, 0));
    const std::string_view v = bytes;
    const size_t half = v.size() / 3;
    EXPECT_EQ(Crc32c(v.substr(half), Crc32c(v.substr(0, half))), Crc32c(v));
  }
}

// Long ones are summed in parts of a kibibyte, three at a time.
TEST(Crc32c, PortableIsTheSameOfLongOnes) {
  std::string bytes(20'000, '\0');
  uint32_t x = 1;
  for (char& c : bytes) c = static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
  const std::string_view v = bytes;
  for (const size_t length : {3'071u, 3'072u, 3'073u, 6'143u, 6'144u, 9'300u, 19'000u}) {
    for (const size_t from : {0u, 1u, 7u, 999u}) {
      const std::string_view part = v.substr(from, length);
      EXPECT_EQ(Crc32c(part), internal::Crc32cPortable(part, 0)) << length << " from " << from;
      EXPECT_EQ(Crc32c(part, 0x1234567), internal::Crc32cPortable(part, 0x1234567));
    }
  }
}

TEST(EntryKey, SortsAsLanesAndPositionsDo) {
  const EntryKey keys[] = {{{0, 0}, 1},   {{0, 1}, 0},       {{1, 0}, 255},
                           {{1, 0}, 256}, {{1, 0}, 1 << 20}, {{256, 0}, 0}};
  for (size_t i = 1; i < std::size(keys); ++i) EXPECT_LT(keys[i - 1].view(), keys[i].view());
  EXPECT_EQ(LaneOfKey(keys[4].view()), (LaneId{1, 0}));
  EXPECT_EQ(PositionOfKey(keys[4].view()), Position{1 << 20});
}

TEST(EntryFormat, RoundTrip) {
  const EntryKey key({7, 1}, 42);
  const EntryHeader header{
      .kind = Kind::kControl, .epoch = 9, .previous = 41, .base_offset = 1000, .count = 3};
  Record record = contract::MakeRecord({"a", "", "bcd"});
  record.kind = Kind::kControl;
  const std::string value = Value(key, header, record);
  const auto decoded = DecodeEntry(key.view(), value);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->body, "abcd");
  EXPECT_EQ(decoded->header.kind, Kind::kControl);
  EXPECT_EQ(decoded->header.epoch, 9u);
  EXPECT_EQ(decoded->header.previous, 41u);
  EXPECT_EQ(decoded->header.base_offset, 1000u);
  EXPECT_EQ(decoded->header.count, 3u);
}

// The bytes of one entry, for ever: a change here is a new format.
TEST(EntryFormat, IsPinned) {
  const EntryKey key({1, 2}, 3);
  const std::string value =
      Value(key, {.kind = Kind::kData, .epoch = 4, .previous = 2, .base_offset = 10, .count = 5},
            contract::MakeRecord("body"));
  std::string hex;
  for (const char c : std::string(key.view()) + value) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<uint8_t>(c));
    hex += two;
  }
  EXPECT_EQ(hex,
            "0000000100000002"
            "0000000000000003"
            "01020000"
            "718142ec"
            "0400000000000000"
            "0200000000000000"
            "0a00000000000000"
            "05000000"
            "626f6479");
}

TEST(EntryFormat, EveryFlippedBitIsFound) {
  const EntryKey key({7, 0}, 42);
  const std::string value = Value(key, {.epoch = 9}, contract::MakeRecord("some body"));
  ASSERT_TRUE(DecodeEntry(key.view(), value));
  const std::string whole = std::string(key.view()) + value;
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const std::string_view v = flipped;
    EXPECT_FALSE(DecodeEntry(v.substr(0, 16), v.substr(16))) << bit;
  }
  for (size_t n = 0; n < value.size(); ++n) {
    EXPECT_FALSE(DecodeEntry(key.view(), std::string_view(value).substr(0, n)));
  }
}

TEST(EntryFormat, LaneRecordsAndEpochs) {
  const LaneRecord record{.fence_epoch = 1, .fence_position = 2, .trimmed = 3, .snapshot = 4};
  std::string bytes = EncodeLaneRecord(record);
  const auto decoded = DecodeLaneRecord(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->fence_epoch, 1u);
  EXPECT_EQ(decoded->fence_position, 2u);
  EXPECT_EQ(decoded->trimmed, 3u);
  EXPECT_EQ(decoded->snapshot, 4u);
  bytes[10] ^= 1;
  EXPECT_FALSE(DecodeLaneRecord(bytes));
  EXPECT_EQ(DecodeEpoch(EncodeEpoch(77)), 77u);
  EXPECT_FALSE(DecodeEpoch("short"));
}

}  // namespace
}  // namespace spillway::storage
