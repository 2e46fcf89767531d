// One received record on stdout.
#pragma once

#include <string>

#include "broker/cli/context.h"

namespace spillway::cli {

enum class RecordFormat : uint8_t {
  kAuto,     // full on a terminal, payload otherwise
  kPayload,  // the payload and a newline
  kFull,     // offset, time, key, headers, payload
};

struct ShowOptions {
  std::string format = "auto";
  RecordFormat Parsed() const;
};
void AddShowOptions(CLI::App* command, ShowOptions* options);

Json RecordJson(const client::RecordView& record);
// With `-o json` one line of JSON, whatever the format.
void ShowRecord(const Context& context, const client::RecordView& record, RecordFormat format);

}  // namespace spillway::cli
