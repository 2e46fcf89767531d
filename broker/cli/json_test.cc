#include "broker/cli/json.h"

#include <gtest/gtest.h>

#include <string>

#include "broker/cli/record_json.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/record.pb.h"

namespace spillway::cli {
namespace {

using namespace std::string_literals;

TEST(Json, MessagesHaveTheNamesOfTheProtocol) {
  v1::Queue queue;
  queue.set_name("orders");
  queue.set_revision(3);
  queue.mutable_tuning()->set_durability(v1::DURABILITY_SYNCED);
  queue.mutable_tuning()->set_window_bytes(1ull << 40);
  queue.mutable_stats()->set_reason(v1::CREDIT_REASON_WINDOW_FULL);
  const Json json = ToJson(queue);
  EXPECT_EQ(json["name"], "orders");
  EXPECT_EQ(json["revision"], 3);
  EXPECT_EQ(json["tuning"]["durability"], "SYNCED");
  EXPECT_EQ(json["tuning"]["window_bytes"], 1099511627776);  // a number, not a string
  EXPECT_EQ(json["stats"]["reason"], "WINDOW_FULL");
  EXPECT_EQ(json["stats"]["depth_messages"], 0);               // zeros are there for scripts
  EXPECT_FALSE(json["tuning"].contains("max_message_bytes"));  // not set
}

TEST(Json, MapsAndLists) {
  v1::ExplainResponse answer;
  v1::Stall* stall = answer.add_stalls();
  stall->set_subject("producer p");
  (*stall->mutable_numbers())["waiting_messages"] = 7;
  (*stall->mutable_numbers())["granted"] = 0;
  const Json json = ToJson(answer);
  EXPECT_EQ(json["stalls"][0]["numbers"].dump(), R"({"granted":0,"waiting_messages":7})");
  EXPECT_EQ(json["numbers"].dump(), "{}");
}

TEST(Json, Base64) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("\xff\xfe\x00"s), "//4A");
  std::string all;
  for (int i = 0; i < 256; ++i) {
    all.push_back(static_cast<char>(i));
    EXPECT_EQ(FromBase64(Base64(all)), all);
  }
  for (const char* bad : {"Z", "Zg", "Zg=", "Z===", "Zm9v!", "Z g=", "Zg==Zg=="}) {
    EXPECT_EQ(FromBase64(bad), std::nullopt) << bad;
  }
}

// What is printed can be published again, byte for byte.
TEST(RecordJson, RoundTrip) {
  struct Case {
    std::string key, payload, name, value;
  };
  for (const Case& c : {Case{"", "", "n", ""}, Case{"k", "text ż\n\"", "trace", "a b"},
                        Case{"\xff", "\x00\xff\n"s, "bin", "\xfe"}}) {
    v1::Record record;
    record.set_key(c.key);
    record.set_payload(c.payload);
    for (int i = 0; i < 2; ++i) {
      auto* header = record.add_headers();
      header->set_name(c.name);
      header->set_value(c.value);
    }
    const std::string encoded = record.SerializeAsString();
    const Json json = RecordJson({17, 1769860800250, 2, encoded});
    EXPECT_EQ(json["offset"], 17);
    EXPECT_EQ(json["appended_at"], "2026-01-31T12:00:00.250Z");
    EXPECT_EQ(json["attempt"], 2);
    const auto parsed = ParseRecordJson(json.dump());
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    EXPECT_EQ(parsed->payload, c.payload);
    EXPECT_EQ(parsed->key, c.key);
    ASSERT_EQ(parsed->headers.size(), 2);
    EXPECT_EQ(parsed->headers[1], std::pair(c.name, c.value));
  }
}

TEST(RecordJson, HeadersMayBeAnObject) {
  const auto record = ParseRecordJson(R"({"payload": "p", "headers": {"a": "1", "b": "2"}})");
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record->headers[1], (std::pair<std::string, std::string>("b", "2")));
}

TEST(RecordJson, RefusesWhatIsNoRecord) {
  for (const auto& [line, says] : std::vector<std::pair<const char*, const char*>>{
           {"", "not a record"},
           {"[1]", "not a record"},
           {"{\"payload\": \"", "not a record"},
           {R"({})", "neither payload nor payload_base64"},
           {R"({"paylod": "x"})", "did you mean 'payload'?"},
           {R"({"payload": 7})", "payload must be a string"},
           {R"({"payload_base64": "!"})", "must be a string of base64"},
           {R"({"payload": "x", "payload_base64": ""})", "exclude each other"},
           {R"({"payload": "x", "headers": 1})", "must be a list or an object"},
           {R"({"payload": "x", "headers": [{"value": "v"}]})", "a header is"},
           {R"({"payload": "x", "headers": {"a": 1}})", "header a must be a string"}}) {
    const auto record = ParseRecordJson(line);
    ASSERT_FALSE(record.ok()) << line;
    EXPECT_NE(record.error().message.find(says), std::string::npos) << record.error().message;
  }
}

}  // namespace
}  // namespace spillway::cli
