// One received record on stdout.
#pragma once

#include <string>
#include <vector>

#include "broker/cli/context.h"

namespace spillway::cli {

enum class RecordFormat : uint8_t {
  kAuto,     // full on a terminal, payload otherwise
  kPayload,  // the payload and a newline
  kRaw,      // the payload alone: bytes as they were published
  kFull,     // offset, time, key, headers, payload
};

struct ShowOptions {
  std::string format = "auto";
  RecordFormat Parsed() const;
};
void AddShowOptions(CLI::App* command, ShowOptions* options);

// With `-o json` one line of JSON, whatever the format.
void ShowRecord(const Context& context, const client::RecordView& record, RecordFormat format);

// Tells on stderr of offsets that will not come.
void ShowGap(const std::vector<client::OffsetRange>& ranges, client::GapReason reason);

}  // namespace spillway::cli
