// Checks one encoded Record without decoding it.
#pragma once

#include <cstdint>

#include "broker/wire/publish_scan.h"

namespace spillway::wire {

// What is wrong with a record. `field` is relative to the record ("headers[2].name").
struct RecordDefect {
  std::string field;
  std::string message;
  uint64_t limit = 0;  // of a size that was passed; 0: malformed
  uint64_t actual = 0;
};

// Whether [p, end) is a Record that every decoder takes and that keeps the
// limits. Unknown fields pass, but groups (long deprecated) do not.
bool CheckRecord(const uint8_t* p, const uint8_t* end, const RecordLimits& limits);

// Why CheckRecord said no. Slow; reads the record again.
RecordDefect ExplainRecord(const uint8_t* p, const uint8_t* end, const RecordLimits& limits);

// Skips the value of an unknown field with this tag; nullptr if it is malformed.
const uint8_t* SkipUnknown(uint32_t tag, const uint8_t* p, const uint8_t* end);

}  // namespace spillway::wire
