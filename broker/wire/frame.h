// The outermost field of a frame: which of the oneof it is, and where it lies.
#pragma once

#include <cstdint>
#include <string_view>

#include "broker/base/error.h"

namespace spillway::wire {

struct FrameField {
  uint32_t number = 0;
  std::string_view body;
};

// Finds the one known field of a PublishRequest or ConsumeRequest, whose oneof
// has the numbers 1 to `last_number`, all of them messages. Unknown fields around
// it are skipped. INVALID_ARGUMENT for "frame" if it is not exactly one.
Result<FrameField> FindFrame(std::string_view frame, uint32_t last_number);

}  // namespace spillway::wire
