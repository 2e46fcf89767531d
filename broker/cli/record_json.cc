#include "broker/cli/record_json.h"

#include <algorithm>
#include <optional>

#include "broker/cli/format.h"
#include "broker/cli/suggest.h"

namespace spillway::cli {
namespace {

using client::Error;
using client::ErrorKind;
using client::Result;

Error Bad(const std::string& field, const std::string& what) {
  return {.kind = ErrorKind::kInvalidArgument, .message = what, .field = field};
}

// The string at `name`, or the bytes at "<name>_base64"; nothing if neither is there.
Result<std::optional<std::string>> Bytes(const Json& object, const std::string& name) {
  const auto text = object.find(name);
  const auto base64 = object.find(name + "_base64");
  if (text != object.end() && base64 != object.end()) {
    return Bad(name, name + " and " + name + "_base64 exclude each other");
  }
  if (text != object.end()) {
    if (!text->is_string()) return Bad(name, name + " must be a string");
    return std::optional(text->get<std::string>());
  }
  if (base64 == object.end()) return std::optional<std::string>();
  auto bytes = base64->is_string() ? FromBase64(base64->get<std::string>()) : std::nullopt;
  if (!bytes) return Bad(name + "_base64", name + "_base64 must be a string of base64");
  return bytes;
}

Result<Record> WithHeaders(Record record, const Json& headers) {
  if (headers.is_object()) {
    for (const auto& [name, value] : headers.items()) {
      if (!value.is_string()) return Bad("headers", "header " + name + " must be a string");
      record.headers.emplace_back(name, value.get<std::string>());
    }
    return record;
  }
  if (!headers.is_array()) return Bad("headers", "headers must be a list or an object");
  for (const Json& header : headers) {
    const auto name = header.is_object() ? header.find("name") : header.end();
    if (name == header.end() || !name->is_string()) {
      return Bad("headers", R"(a header is {"name": "…", "value": "…"})");
    }
    auto value = Bytes(header, "value");
    if (!value.ok()) return value.error();
    record.headers.emplace_back(name->get<std::string>(), value->value_or(""));
  }
  return record;
}

}  // namespace

Json RecordJson(const client::RecordView& record) {
  Json out;
  out["offset"] = record.offset();
  out["appended_at"] = Rfc3339(record.appended_at_unix_ms());
  if (record.attempt() != 0) out["attempt"] = record.attempt();
  if (!record.key().empty()) PutBytes("key", record.key(), &out);
  for (const client::Header& header : record.headers()) {
    Json entry;
    entry["name"] = header.name;
    PutBytes("value", header.value, &entry);
    out["headers"].push_back(std::move(entry));
  }
  PutBytes("payload", record.payload(), &out);
  return out;
}

Result<Record> ParseRecordJson(std::string_view line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return Bad("", R"(not a record; a line is an object such as {"key": "…", "payload": "…"})");
  }
  static const std::vector<std::string> kNames = {"payload",     "payload_base64", "key",
                                                  "key_base64",  "headers",        "offset",
                                                  "appended_at", "attempt"};
  for (const auto& [name, value] : json.items()) {
    if (std::find(kNames.begin(), kNames.end(), name) != kNames.end()) continue;
    return Bad(name, "a record has no '" + name + "'" + DidYouMean(name, kNames));
  }
  auto payload = Bytes(json, "payload");
  if (!payload.ok()) return payload.error();
  if (!*payload) return Bad("payload", "the record has neither payload nor payload_base64");
  auto key = Bytes(json, "key");
  if (!key.ok()) return key.error();
  Record record{.payload = std::move(**payload), .key = key->value_or(""), .headers = {}};
  const auto headers = json.find("headers");
  if (headers == json.end()) return record;
  return WithHeaders(std::move(record), *headers);
}

}  // namespace spillway::cli
