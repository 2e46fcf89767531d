// The vectors that all clients share; see tests/vectors/README.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clients/cpp/spillway/internal/backoff.h"
#include "clients/cpp/spillway/internal/consumer_session.h"
#include "clients/cpp/spillway/internal/error_proto.h"
#include "clients/cpp/spillway/internal/unanswered.h"
#include "clients/cpp/spillway/internal/wire.h"
#include "clients/cpp/spillway/message.h"
#include "clients/cpp/spillway/publish.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::client::internal {
namespace {

using Json = nlohmann::json;

Json Read(const std::string& name) {
  std::ifstream file("tests/vectors/" + name);
  EXPECT_TRUE(file.is_open()) << name;
  return Json::parse(file);
}

std::string FromHex(const std::string& hex) {
  EXPECT_EQ(hex.size() % 2, 0U) << hex;
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
      : payload(FromHex(json["payload"])),
        key(FromHex(json["key"])),
        encoded(json["hex"]),
        bytes(json["bytes"]) {
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
  size_t bytes;
  std::vector<std::pair<std::string, std::string>> texts;
  std::vector<Header> headers;
};

std::map<std::string, Record> Records(const Json& file) {
  std::map<std::string, Record> records;
  for (const auto& json : file["records"]) records.try_emplace(json["name"], json);
  EXPECT_FALSE(records.empty());
  return records;
}

TEST(Vectors, Records) {
  const Json file = Read("wire.json");
  for (const auto& [name, record] : Records(file)) {
    std::string fields;
    AppendRecordField(record.message(), &fields);
    const std::string encoded = FromHex(record.encoded);
    EXPECT_EQ(EncodedBytes(record.message()), record.bytes) << name;
    EXPECT_EQ(record.bytes, encoded.size()) << name;
    ASSERT_GE(fields.size(), encoded.size()) << name;
    EXPECT_EQ(ToHex(fields.substr(fields.size() - encoded.size())), record.encoded) << name;
    const RecordView view(0, 0, 1, encoded);
    EXPECT_EQ(view.payload(), record.payload) << name;
    EXPECT_EQ(view.key(), record.key) << name;
    const std::vector<Header> headers = view.headers();
    ASSERT_EQ(headers.size(), record.headers.size()) << name;
    for (size_t i = 0; i < headers.size(); ++i) {
      EXPECT_EQ(headers[i].name, record.headers[i].name) << name;
      EXPECT_EQ(headers[i].value, record.headers[i].value) << name;
    }
  }
}

TEST(Vectors, PublishFrames) {
  const Json file = Read("wire.json");
  const auto records = Records(file);
  ASSERT_FALSE(file["publish"].empty());
  for (const auto& json : file["publish"]) {
    std::string fields;
    for (const auto& name : json["records"]) {
      AppendRecordField(records.at(name).message(), &fields);
    }
    grpc::Slice frame;
    ASSERT_TRUE(Flatten(PublishFrame(json["first_sequence"], grpc::Slice(fields)), &frame));
    EXPECT_EQ(ToHex(View(frame)), json["hex"].get<std::string>());
  }
}

TEST(Vectors, Deliveries) {
  const Json file = Read("wire.json");
  const auto records = Records(file);
  ASSERT_FALSE(file["delivery"].empty());
  ASSERT_FALSE(file["malformed_delivery"].empty());
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

TEST(Vectors, Confirms) {
  const Json file = Read("wire.json");
  ASSERT_FALSE(file["confirm"].empty());
  for (const auto& json : file["confirm"]) {
    v1::PublishResponse frame;
    ASSERT_TRUE(frame.ParseFromString(FromHex(json["hex"])));
    ASSERT_TRUE(frame.has_confirm());
    const v1::Confirm& confirm = frame.confirm();
    EXPECT_EQ(Name(static_cast<Durability>(confirm.durability())),
              json["durability"].get<std::string>());
    ASSERT_EQ(static_cast<size_t>(confirm.runs_size()), json["runs"].size());
    for (int i = 0; i < confirm.runs_size(); ++i) {
      const Json& run = json["runs"][static_cast<size_t>(i)];
      EXPECT_EQ(confirm.runs(i).first_sequence(), run["first_sequence"]);
      EXPECT_EQ(confirm.runs(i).count(), run["count"]);
      EXPECT_EQ(confirm.runs(i).first_offset(), run["first_offset"]);
      EXPECT_EQ(confirm.runs(i).duplicate(), run["duplicate"]);
      EXPECT_EQ(confirm.runs(i).offset_unknown(), run["offset_unknown"]);
    }
    const Json& grant = json["grant"];
    ASSERT_EQ(confirm.has_grant(), !grant.is_null());
    if (grant.is_null()) continue;
    EXPECT_EQ(confirm.grant().epoch(), grant["epoch"]);
    EXPECT_EQ(confirm.grant().limit().messages(), grant["limit"]["messages"]);
    EXPECT_EQ(confirm.grant().limit().bytes(), grant["limit"]["bytes"]);
    EXPECT_EQ(Name(static_cast<CreditReason>(confirm.grant().reason())),
              grant["reason"].get<std::string>());
    EXPECT_EQ(confirm.grant().reason_age_ms(), grant["reason_age_ms"]);
    EXPECT_EQ(confirm.grant().window_used_bytes(), grant["window_used_bytes"]);
    EXPECT_EQ(confirm.grant().window_bytes(), grant["window_bytes"]);
  }
}

OffsetRange ToRange(const Json& json) { return {json[0], json[1]}; }

std::vector<OffsetRange> ToRanges(const Json& json) {
  std::vector<OffsetRange> ranges;
  for (const auto& range : json) ranges.push_back(ToRange(range));
  return ranges;
}

std::string Hex(const grpc::ByteBuffer& frame) {
  grpc::Slice slice;
  EXPECT_TRUE(Flatten(frame, &slice));
  return ToHex(View(slice));
}

TEST(Vectors, Settles) {
  const Json file = Read("wire.json");
  ASSERT_FALSE(file["settle"].empty());
  const std::map<std::string, SettleAction> actions = {{"ACK", SettleAction::kAck},
                                                       {"RETRY", SettleAction::kRetry},
                                                       {"PARK", SettleAction::kPark},
                                                       {"SKIP", SettleAction::kSkip}};
  for (const auto& json : file["settle"]) {
    const Settled settled{.action = actions.at(json["action"]),
                          .delay_ms = json["delay_ms"],
                          .reason = json["reason"],
                          .ranges = ToRanges(json["ranges"])};
    const Json& grant = json["grant"];
    uint64_t epoch = 0;
    std::optional<Credit> limit;
    if (!grant.is_null()) {
      epoch = grant["epoch"];
      limit = Credit{grant["limit"]["messages"], grant["limit"]["bytes"]};
    }
    EXPECT_EQ(Hex(SettleFrame(settled, epoch, limit)), json["hex"].get<std::string>());
  }
}

TEST(Vectors, SettledOffsetsAsRanges) {
  const Json file = Read("ranges.json");
  ASSERT_FALSE(file.empty());
  for (const auto& json : file) {
    std::vector<OffsetRange> ranges;
    for (const auto& item : json["settled"]) {
      const OffsetRange run = ToRange(item);
      if (run.count > 1000) {  // not one by one
        AppendRange(run, &ranges);
        continue;
      }
      for (uint64_t i = 0; i < run.count; ++i) AppendRange({run.first_offset + i, 1}, &ranges);
    }
    Normalize(&ranges);
    EXPECT_EQ(ranges, ToRanges(json["ranges"])) << json["name"];
    // The vector is a Settle without an action; around it are the frame's tag and length.
    const std::string settle = FromHex(json["hex"]);
    std::string frame(1, char{2 << 3 | 2});
    PutVarint(&frame, settle.size());
    // NOLINTNEXTLINE(bugprone-invalid-enum-default-initialization): the vector has none
    EXPECT_EQ(Hex(SettleFrame({.action = SettleAction{}, .ranges = ranges}, 0, std::nullopt)),
              ToHex(frame + settle))
        << json["name"];
  }
}

TEST(Vectors, Errors) {
  const Json file = Read("errors.json");
  ASSERT_FALSE(file.empty());
  for (const auto& json : file) {
    const std::string trailer = FromHex(json["trailer"]);
    const grpc::Status status(static_cast<grpc::StatusCode>(json["code"].get<int>()), "why");
    const Error error = FromStatus(
        status, trailer.empty() ? std::optional<std::string_view>() : std::optional(trailer));
    EXPECT_EQ(Name(error.kind), json["kind"].get<std::string>()) << json["name"];
    EXPECT_EQ(error.queue, json["queue"].get<std::string>()) << json["name"];
    EXPECT_EQ(error.field, json["field"].get<std::string>()) << json["name"];
    EXPECT_EQ(error.limit, json["limit"]) << json["name"];
    EXPECT_EQ(error.actual, json["actual"]) << json["name"];
    EXPECT_EQ(error.retry_after_ms, json["retry_after_ms"]) << json["name"];
    EXPECT_EQ(error.head_offset, json["head_offset"]) << json["name"];
    EXPECT_EQ(error.tail_offset, json["tail_offset"]) << json["name"];
    EXPECT_EQ(IsRetryable(error), json["retryable"]) << json["name"];
  }
}

// With the luckiest and the unluckiest draw.
TEST(Vectors, Reconnects) {
  const Json file = Read("retry.json");
  ASSERT_FALSE(file["reconnect"].empty());
  for (const auto& json : file["reconnect"]) {
    const auto wait = [&](const std::function<milliseconds(milliseconds)>& jitter) {
      const auto ms = [&](const char* field) { return milliseconds(json[field].get<int64_t>()); };
      Backoff backoff(ms("base_ms"), ms("max_ms"));
      for (int i = 0; i < json["attempt"]; ++i) backoff.Next(true, milliseconds(0), jitter);
      return backoff.Next(json["budget"], ms("retry_after_ms"), jitter);
    };
    const milliseconds a = wait([](milliseconds) { return milliseconds(0); });
    const milliseconds b = wait([](milliseconds most) { return most; });
    EXPECT_EQ(std::min(a, b).count(), json["least_ms"]) << json;
    EXPECT_EQ(std::max(a, b).count(), json["most_ms"]) << json;
  }
}

}  // namespace
}  // namespace spillway::client::internal
