// The vectors that all clients share; see tests/vectors/README.md.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clients/cpp/spillway/internal/error_proto.h"
#include "clients/cpp/spillway/internal/wire.h"
#include "clients/cpp/spillway/message.h"
#include "spillway/v1/error.pb.h"

namespace spillway::client::internal {
namespace {

using Json = nlohmann::json;

Json Read(const std::string& name) {
  std::ifstream file("tests/vectors/" + name);
  EXPECT_TRUE(file.is_open()) << name;
  return Json::parse(file);
}

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string ToHex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

// A record of wire.json, with the bytes that its message shows.
struct Record {
  explicit Record(const Json& json)
      : payload(FromHex(json["payload"])), key(FromHex(json["key"])), encoded(json["hex"]) {
    for (const auto& header : json["headers"]) {
      texts.emplace_back(header[0].get<std::string>(), FromHex(header[1]));
    }
    for (const auto& [name, value] : texts) headers.push_back({.name = name, .value = value});
  }
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  Message message() const { return {.payload = payload, .key = key, .headers = headers}; }

  std::string payload;
  std::string key;
  std::string encoded;
  std::vector<std::pair<std::string, std::string>> texts;
  std::vector<Header> headers;
};

std::map<std::string, Record> Records(const Json& file) {
  std::map<std::string, Record> records;
  for (const auto& json : file["records"]) records.try_emplace(json["name"], json);
  EXPECT_FALSE(records.empty());
  return records;
}

TEST(Vectors, RecordsCostWhatTheyAreLong) {
  const Json file = Read("wire.json");
  const auto records = Records(file);
  for (const auto& json : file["records"]) {
    EXPECT_EQ(EncodedBytes(records.at(json["name"]).message()), json["bytes"]) << json["name"];
  }
}

TEST(Vectors, PublishFrames) {
  const Json file = Read("wire.json");
  const auto records = Records(file);
  for (const auto& json : file["publish"]) {
    std::string fields;
    for (const auto& name : json["records"]) {
      AppendRecordField(records.at(name).message(), &fields);
    }
    grpc::Slice frame;
    ASSERT_TRUE(Flatten(PublishFrame(json["first_sequence"], grpc::Slice(fields)), &frame));
    EXPECT_EQ(ToHex(View(frame)), json["hex"]);
  }
}

TEST(Vectors, Deliveries) {
  const Json file = Read("wire.json");
  const auto records = Records(file);
  for (const auto& json : file["delivery"]) {
    const std::string frame = FromHex(json["hex"]);
    FrameIndex index;
    ASSERT_TRUE(IsDelivery(frame));
    ASSERT_TRUE(ParseDelivery(frame, &index));
    ASSERT_EQ(index.runs.size(), json["runs"].size());
    for (size_t i = 0; i < index.runs.size(); ++i) {
      const Json& run = json["runs"][i];
      EXPECT_EQ(index.runs[i].first_offset, run["first_offset"]);
      EXPECT_EQ(index.runs[i].count, run["count"]);
      EXPECT_EQ(index.runs[i].appended_at_unix_ms, run["appended_at_unix_ms"]);
      EXPECT_EQ(index.runs[i].attempt, run["attempt"]);
    }
    ASSERT_EQ(index.records.size(), json["records"].size());
    uint64_t cost = 0;
    for (size_t i = 0; i < index.records.size(); ++i) {
      const auto& [begin, size] = index.records[i];
      const Record& record = records.at(json["records"][i]);
      EXPECT_EQ(ToHex(std::string_view(frame).substr(begin, size)), record.encoded);
      cost += size;
    }
    EXPECT_EQ(index.cost, (Credit{index.records.size(), cost}));
  }
  for (const auto& json : file["malformed_delivery"]) {
    FrameIndex index;
    EXPECT_FALSE(ParseDelivery(FromHex(json["hex"]), &index)) << json["name"];
  }
}

TEST(Vectors, TypedErrors) {
  int typed = 0;
  for (const auto& json : Read("errors.json")) {
    if (json["trailer"].get<std::string>().empty()) continue;  // needs a call that ended so
    ++typed;
    v1::Error proto;
    ASSERT_TRUE(proto.ParseFromString(FromHex(json["trailer"])));
    const Error error = FromProto(proto);
    EXPECT_EQ(Name(error.kind), json["kind"].get<std::string>()) << json["name"];
    EXPECT_EQ(error.queue, json["queue"]);
    EXPECT_EQ(error.field, json["field"]);
    EXPECT_EQ(error.limit, json["limit"]);
    EXPECT_EQ(error.actual, json["actual"]);
    EXPECT_EQ(error.retry_after_ms, json["retry_after_ms"]);
    EXPECT_EQ(error.head_offset, json["head_offset"]);
    EXPECT_EQ(error.tail_offset, json["tail_offset"]);
    if (error.retry_after_ms == 0) {
      EXPECT_EQ(IsRetryable(error.kind), json["retryable"]) << json["name"];
    }
  }
  EXPECT_GT(typed, 23);
}

}  // namespace
}  // namespace spillway::client::internal
