#include "broker/wire/frame.h"

#include "broker/wire/record_scan.h"
#include "broker/wire/varint.h"

namespace spillway::wire {
namespace {

Error Malformed() { return InvalidArgument("frame", "frame is not an encoded message"); }

}  // namespace

Result<FrameField> FindFrame(std::string_view frame, uint32_t last_number) {
  const auto* p = reinterpret_cast<const uint8_t*>(frame.data());
  const uint8_t* const end = p + frame.size();
  FrameField found;
  while (p < end) {
    uint32_t tag = 0, length = 0;
    p = GetCanonical32(p, end, &tag);
    if (p == nullptr) return Malformed();
    const uint32_t number = tag >> 3;
    if (number >= 1 && number <= last_number) {
      if ((tag & 7) != 2) return Malformed();
      if (found.number != 0) {
        return InvalidArgument("frame", "exactly one field of the frame must be set, once");
      }
      p = GetCanonical32(p, end, &length);
      if (p == nullptr || length > static_cast<uint64_t>(end - p)) return Malformed();
      found = {.number = number, .body = {reinterpret_cast<const char*>(p), length}};
      p += length;
      continue;
    }
    p = SkipUnknown(tag, p, end);
    if (p == nullptr) return Malformed();
  }
  if (found.number == 0) {
    return InvalidArgument("frame", "exactly one known field of the frame must be set");
  }
  return found;
}

}  // namespace spillway::wire
