#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "broker/base/random.h"
#include "broker/wire/batch.h"
#include "broker/wire/delivery.h"
#include "broker/wire/varint.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::wire {
namespace {

namespace pb = ::spillway::v1;

// Records with these body sizes, behind `begin` other bytes.
Records Make(const std::vector<uint32_t>& sizes, uint32_t begin = 0) {
  pb::PublishBatch batch;
  for (const uint32_t size : sizes) {
    // A payload of n - 2 bytes encodes to n, from 3 to 127; an empty one to 0.
    pb::Record* record = batch.add_records();
    if (size > 0) record->set_payload(std::string(size - 2, 'p'));
  }
  const std::string fields = batch.SerializeAsString();
  auto index = std::make_shared<uint32_t[]>(sizes.size() * 2);
  uint32_t end = 0, total = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    index[i] = end += sizes[i] + 2;
    index[sizes.size() + i] = total += sizes[i];
  }
  return {Buffer::Copy(std::string(begin, '#') + fields), begin, std::move(index),
          static_cast<uint32_t>(sizes.size())};
}

TEST(Records, FitWithinIsExactAtTheLimit) {
  const Records records = Make({10, 20, 30}, 5);
  EXPECT_EQ(records.Cost(), (Credit{3, 60}));
  EXPECT_EQ(records.Cost(1, 2), (Credit{2, 50}));
  EXPECT_EQ(records.FitWithin(0, 10, {3, 60}), 3u);
  EXPECT_EQ(records.FitWithin(0, 10, {3, 59}), 2u);
  EXPECT_EQ(records.FitWithin(0, 10, {1, 60}), 1u);
  EXPECT_EQ(records.FitWithin(0, 2, {9, 999}), 2u);
  EXPECT_EQ(records.FitWithin(0, 10, {9, 9}), 0u);
  EXPECT_EQ(records.FitWithin(1, 10, {9, 20}), 1u);
  EXPECT_EQ(records.FitWithin(1, 10, {9, 19}), 0u);
  EXPECT_EQ(records.FitWithin(2, 10, {UINT64_MAX, UINT64_MAX}), 1u);
  EXPECT_EQ(records.FitWithin(3, 10, {9, 99}), 0u);
}

TEST(Records, SlicesKeepTheBytesAlive) {
  Slice slice;
  {
    const Records records = Make({10, 20, 30}, 5);
    slice = records.FieldsSlice(1, 2);
    EXPECT_EQ(slice.view(), records.Fields(1, 2));
  }
  EXPECT_EQ(slice.length, 54u);
  EXPECT_EQ(slice.view().front(), '\x7a');
}

TEST(Records, EmptyRunsHoldNothing) {
  const Records records = Make({0, 3});
  EXPECT_EQ(records.Body(0), "");
  EXPECT_EQ(records.FitWithin(0, 9, {1, 0}), 1u);
  EXPECT_EQ(records.Fields(1, 0), "");
  EXPECT_EQ(Records().Cost(), Credit{});
}

TEST(Buffer, CountsReferences) {
  Buffer a = Buffer::Copy("hello");
  Buffer b = a;
  void* raw = a.Release();
  EXPECT_TRUE(a.empty());
  Buffer c = Buffer::Adopt(raw);
  b = Buffer();
  EXPECT_EQ(c.view(), "hello");
}

TEST(EncodeDeliveryHeader, IsWhatProtobufWrites) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Random random(seed);
    Delivery delivery;
    pb::ConsumeResponse expected;
    pb::Delivery* body = expected.mutable_delivery();
    if (random.Below(2) == 0) {
      delivery.partition = static_cast<uint32_t>(random.Next());
      body->set_partition(delivery.partition);
    }
    for (uint64_t n = 1 + random.Below(6); n > 0; --n) {
      DeliveryRun run;
      run.first = random.Next() >> random.Below(64);
      run.count = 1 + static_cast<uint32_t>(random.Below(3));
      run.appended_at = random.Next() >> random.Below(64);
      run.attempt = static_cast<uint32_t>(random.Below(3));
      delivery.runs.push_back(run);
      pb::Delivery::Run* out = body->add_runs();
      out->set_first_offset(run.first);
      out->set_count(run.count);
      out->set_appended_at_unix_ms(run.appended_at);
      out->set_attempt(run.attempt);
      const Records records = Make(std::vector<uint32_t>(run.count, 40));
      delivery.fields.push_back(records.FieldsSlice(0, run.count));
      for (uint32_t i = 0; i < run.count; ++i) {
        body->add_records()->set_payload(std::string(38, 'p'));
      }
    }
    std::string frame = EncodeDeliveryHeader(delivery);
    for (const Slice& slice : delivery.fields) frame += slice.view();
    EXPECT_EQ(frame, expected.SerializeAsString()) << seed;
  }
}

TEST(Varint, SizeAndRoundTrip) {
  for (int bits = 0; bits < 64; ++bits) {
    for (const uint64_t value : {uint64_t{1} << bits, (uint64_t{1} << bits) - 1}) {
      char out[10];
      const char* end = PutVarint(out, value);
      EXPECT_EQ(VarintSize(value), end - out);
      const auto* p = reinterpret_cast<const uint8_t*>(out);
      uint64_t read = 0;
      EXPECT_EQ(GetVarint(p, p + (end - out), &read), p + (end - out));
      EXPECT_EQ(read, value);
      EXPECT_EQ(GetVarint(p, p + (end - out) - 1, &read), nullptr);
    }
  }
}

TEST(Utf8, FollowsTheStandard) {
  const char* good[] = {"",
                        "plain ascii text",
                        "é",
                        "日本語のテキスト",
                        "\xf0\x9f\x8c\x8a",
                        "\xed\x9f\xbf",
                        "\xee\x80\x80",
                        "\xf4\x8f\xbf\xbf"};
  const char* bad[] = {"\x80",
                       "\xc3",
                       "\xc0\xaf",
                       "\xc1\xbf",
                       "\xe0\x9f\xbf",
                       "\xed\xa0\x80",
                       "\xf0\x8f\xbf\xbf",
                       "\xf4\x90\x80\x80",
                       "\xf5\x80\x80\x80",
                       "\xff",
                       "ascii then \xe2\x82",
                       "12345678\xc3(",
                       "\xe2\x28\xa1"};
  for (const char* text : good) EXPECT_TRUE(IsUtf8(text)) << text;
  for (const char* text : bad) EXPECT_FALSE(IsUtf8(text)) << text;
}

}  // namespace
}  // namespace spillway::wire
