#include "broker/wire/publish_scan.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "broker/base/random.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::wire {
namespace {

namespace pb = ::spillway::v1;

Result<PublishFrame> Scan(const std::string& bytes, const RecordLimits& limits = {}) {
  return ScanPublish(Buffer::Copy(bytes), limits);
}

// A length-delimited field.
std::string Field(uint32_t number, const std::string& body) {
  std::string out;
  auto put = [&out](uint64_t v) {
    while (v >= 0x80) {
      out.push_back(static_cast<char>(v | 0x80));
      v >>= 7;
    }
    out.push_back(static_cast<char>(v));
  };
  put(number << 3 | 2);
  put(body.size());
  return out + body;
}

std::string RandomBytes(Random& random, size_t max) {
  std::string out(random.Below(max + 1), '\0');
  for (char& c : out) c = static_cast<char>(random.Next());
  return out;
}

pb::Record RandomRecord(Random& random) {
  pb::Record record;
  record.set_payload(RandomBytes(random, random.Below(20) == 0 ? 20'000 : 200));
  if (random.Below(2) == 0) record.set_key(RandomBytes(random, 40));
  for (uint64_t n = random.Below(4); n > 0; --n) {
    pb::Header* header = record.add_headers();
    header->set_name(random.Below(2) == 0 ? "traceparent-é" : "a");
    header->set_value(RandomBytes(random, 60));
  }
  if (random.Below(4) == 0) {
    record.GetReflection()->MutableUnknownFields(&record)->AddVarint(9, random.Next());
  }
  return record;
}

TEST(ScanPublish, AgreesWithProtobufOnRandomBatches) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    pb::PublishRequest request;
    pb::PublishBatch* batch = request.mutable_publish();
    batch->set_first_sequence(random.Next() >> random.Below(64));
    if (random.Below(3) == 0) batch->set_partition(7);
    for (uint64_t n = 1 + random.Below(50); n > 0; --n)
      *batch->add_records() = RandomRecord(random);

    const std::string bytes = request.SerializeAsString();
    ASSERT_TRUE(IsPublish(bytes));
    Result<PublishFrame> frame = Scan(bytes);
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    EXPECT_EQ(frame->first_sequence, batch->first_sequence());
    EXPECT_EQ(frame->partition, batch->partition());
    const Records& records = frame->records;
    ASSERT_EQ(records.count(), static_cast<uint32_t>(batch->records_size()));
    uint64_t total = 0;
    for (uint32_t i = 0; i < records.count(); ++i) {
      const std::string body = batch->records(static_cast<int>(i)).SerializeAsString();
      EXPECT_EQ(records.Body(i), body);
      EXPECT_EQ(records.BodyBytes(i), body.size());
      EXPECT_EQ(records.Fields(i, 1), Field(15, body));
      total += body.size();
    }
    EXPECT_EQ(records.Cost(), (Credit{records.count(), total}));

    // What was stored is found again, wherever it lies.
    const std::string fields(records.fields());
    Result<Records> stored = ScanStored(Buffer::Copy("xyz" + fields), 3,
                                        static_cast<uint32_t>(fields.size()), records.count());
    ASSERT_TRUE(stored.ok());
    EXPECT_EQ(stored->fields(), fields);
    EXPECT_EQ(stored->Cost(), records.Cost());
    // Spliced into a Delivery, protobuf reads the same records.
    pb::Delivery delivery;
    ASSERT_TRUE(delivery.ParseFromString(fields));
    ASSERT_EQ(delivery.records_size(), batch->records_size());
    EXPECT_EQ(delivery.records(0).SerializeAsString(), batch->records(0).SerializeAsString());
  }
}

TEST(ScanPublish, CompactsRecordsThatAreNotBackToBack) {
  const std::string a = Field(15, Field(1, "aaa")), b = Field(15, Field(1, "b"));
  const std::string unknown = Field(100, "what a later version sends");
  const std::string sequence = "\x08\x05";
  const std::string batch = unknown + a + sequence + unknown + b + unknown;
  Result<PublishFrame> frame = Scan(Field(77, "x") + Field(2, batch) + Field(78, "y"));
  ASSERT_TRUE(frame.ok()) << frame.error().message;
  EXPECT_EQ(frame->first_sequence, 5u);
  EXPECT_EQ(frame->records.fields(), a + b);
  EXPECT_EQ(frame->records.Body(1), Field(1, "b"));
  EXPECT_EQ(frame->records.Cost(), (Credit{2, 8}));
}

TEST(ScanPublish, LastOfRepeatedScalarsWinsAndUnknownRecordFieldsStay) {
  const std::string body = Field(1, "old") + Field(20, "kept") + Field(1, "new");
  Result<PublishFrame> frame = Scan(Field(2, "\x08\x05\x08\x06" + Field(15, body)));
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(frame->first_sequence, 6u);
  EXPECT_EQ(frame->records.Body(0), body);
}

TEST(ScanPublish, TakesAnEmptyRecord) {
  Result<PublishFrame> frame = Scan(Field(2, Field(15, "") + Field(15, "")));
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(frame->records.Cost(), (Credit{2, 0}));
}

struct BadCase {
  const char* name;
  std::string frame;
  ErrorKind kind;
  std::string field;
  uint64_t limit = 0;
};

std::string Header(const std::string& name) { return Field(3, Field(1, name)); }
std::string Batch(const std::string& record) { return Field(2, Field(15, record)); }
std::string Times(int n, const std::string& s) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

// NOLINTNEXTLINE(bugprone-throwing-static-initialization): it would fail at once
const BadCase kBadCases[] = {
    {"empty", "", ErrorKind::kInvalidArgument, "frame"},
    {"unknown frame only", Field(99, "x"), ErrorKind::kInvalidArgument, "frame"},
    {"two publishes", Batch("") + Batch(""), ErrorKind::kInvalidArgument, "frame"},
    {"publish and close", Batch("") + Field(6, ""), ErrorKind::kInvalidArgument, "frame"},
    {"no records", Field(2, "\x08\x01"), ErrorKind::kInvalidArgument, "publish.records"},
    {"batch cut", std::string("\x12\x05\x7a", 3), ErrorKind::kInvalidArgument, "frame"},
    {"record cut", Field(2, "\x7a\x05\x0a"), ErrorKind::kInvalidArgument, "publish.records[0]"},
    {"second record cut", Field(2, Field(15, "") + "\x7a"), ErrorKind::kInvalidArgument,
     "publish.records[1]"},
    {"long length", Field(2, std::string("\x7a\x80\x00", 3)), ErrorKind::kInvalidArgument,
     "publish.records[0]"},
    {"endless varint", Field(2, "\x08" + std::string(10, '\xff')), ErrorKind::kInvalidArgument,
     "publish.first_sequence"},
    {"sequence of another type", Field(2, Field(1, "x") + Field(15, "")),
     ErrorKind::kInvalidArgument, "publish"},
    {"group", Field(2, "\xa3\x06\xa4\x06" + Field(15, "")), ErrorKind::kInvalidArgument, "publish"},
    {"payload cut", Batch("\x0a\x05x"), ErrorKind::kInvalidArgument, "publish.records[0]"},
    {"payload of another type", Batch("\x08\x05"), ErrorKind::kInvalidArgument,
     "publish.records[0]"},
    {"field number 0", Batch(std::string("\x02\x00", 2)), ErrorKind::kInvalidArgument,
     "publish.records[0]"},
    {"end of no group", Batch("\x54"), ErrorKind::kInvalidArgument, "publish.records[0]"},
    {"unknown fixed64 cut",
     Batch("\x51"
           "1234567"),
     ErrorKind::kInvalidArgument, "publish.records[0]"},
    {"long key", Batch(Field(2, std::string(1025, 'k'))), ErrorKind::kTooLarge,
     "publish.records[0].key", 1024},
    {"many headers", Batch(Times(65, Header("h"))), ErrorKind::kTooLarge,
     "publish.records[0].headers", 64},
    {"big headers", Batch(Times(5, Field(3, Field(1, "h") + Field(2, std::string(4000, 'v'))))),
     ErrorKind::kTooLarge, "publish.records[0].headers", 16 << 10},
    {"nameless header", Batch(Header("h") + Field(3, Field(2, "v"))), ErrorKind::kInvalidArgument,
     "publish.records[0].headers[1].name"},
    {"long header name", Batch(Header(std::string(256, 'n'))), ErrorKind::kTooLarge,
     "publish.records[0].headers[0].name", 255},
    {"bad UTF-8", Batch(Header("caf\xe9")), ErrorKind::kInvalidArgument,
     "publish.records[0].headers[0].name"},
    {"too many records", Field(2, Times(10'001, Field(15, ""))), ErrorKind::kTooLarge,
     "publish.records", 10'000},
};

TEST(ScanPublish, NamesWhatIsWrong) {
  for (const BadCase& bad : kBadCases) {
    SCOPED_TRACE(bad.name);
    Result<PublishFrame> frame = Scan(bad.frame);
    ASSERT_FALSE(frame.ok());
    EXPECT_EQ(frame.error().kind, bad.kind);
    EXPECT_EQ(frame.error().field, bad.field);
    EXPECT_EQ(frame.error().limit, bad.limit);
    EXPECT_NE(frame.error().message, "");
  }
}

// Whatever the scanner takes, protobuf must be able to decode: no producer can
// send what would break a consumer.
TEST(ScanPublish, TakesOnlyWhatProtobufDecodes) {
  int taken = 0;
  for (uint64_t seed = 0; seed < 20'000; ++seed) {
    Random random(seed);
    pb::PublishRequest request;
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) {
      *request.mutable_publish()->add_records() = RandomRecord(random);
    }
    std::string bytes = request.SerializeAsString();
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) {
      const size_t at = random.Below(std::min<size_t>(bytes.size(), 64));
      bytes[at] = static_cast<char>(random.Next());
    }
    if (random.Below(4) == 0) bytes.resize(random.Below(bytes.size() + 1));
    Result<PublishFrame> frame = Scan(bytes);
    if (!frame.ok()) continue;
    ++taken;
    pb::PublishRequest decoded;
    ASSERT_TRUE(decoded.ParseFromString(bytes)) << seed;
    ASSERT_TRUE(decoded.has_publish());
    ASSERT_EQ(frame->first_sequence, decoded.publish().first_sequence());
    ASSERT_EQ(frame->records.count(), static_cast<uint32_t>(decoded.publish().records_size()));
  }
  EXPECT_GT(taken, 500);
}

TEST(ScanStored, RefusesWhatDoesNotMatch) {
  const std::string fields = Field(15, "") + Field(15, Field(1, "x"));
  const auto size = static_cast<uint32_t>(fields.size());
  const Buffer buffer = Buffer::Copy(fields);
  EXPECT_TRUE(ScanStored(buffer, 0, size, 2).ok());
  EXPECT_FALSE(ScanStored(buffer, 0, size, 1).ok());
  EXPECT_FALSE(ScanStored(buffer, 0, size, 3).ok());
  EXPECT_FALSE(ScanStored(buffer, 0, size - 1, 2).ok());
  EXPECT_FALSE(ScanStored(buffer, 1, size, 2).ok());
  EXPECT_FALSE(ScanStored(buffer, 0, size, UINT32_MAX).ok());
  EXPECT_EQ(ScanStored(buffer, 0, size, 3).error().kind, ErrorKind::kCorrupt);
}

}  // namespace
}  // namespace spillway::wire
