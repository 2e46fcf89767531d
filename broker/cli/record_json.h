// Records as lines of JSON: what `-o json` prints, `pub --json-lines` reads.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/cli/json.h"
#include "clients/cpp/spillway/error.h"
#include "clients/cpp/spillway/message.h"

namespace spillway::cli {

// {"offset", "appended_at", "attempt", "key", "headers": [{"name", "value"}], "payload"};
// bytes that are not UTF-8 are at "<name>_base64".
Json RecordJson(const client::RecordView& record);

struct Record {
  std::string payload;
  std::string key;
  std::vector<std::pair<std::string, std::string>> headers;
};
// Takes what RecordJson gives, so that records can be carried from one queue to
// another; where a record was is ignored. Headers may also be an object. An unknown
// name is an error: a misspelt "payload" must not become an empty record.
client::Result<Record> ParseRecordJson(std::string_view line);

}  // namespace spillway::cli
