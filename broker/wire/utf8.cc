#include <cstring>

#include "broker/wire/varint.h"

namespace spillway::wire {
namespace {

bool IsContinuation(uint8_t c) { return (c & 0xc0) == 0x80; }

// The length of the sequence at `p`, or 0 if it is malformed. REQUIRES: *p >= 0x80.
size_t SequenceLength(const uint8_t* p, size_t left) {
  const uint8_t lead = *p;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  if (left < 2) return 0;
  // The second byte's range rules out overlong forms, surrogates and what lies
  // above U+10FFFF; see table 3-7 of the Unicode standard.
  uint8_t low = 0x80, high = 0xbf;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  if (p[1] < low || p[1] > high) return 0;
  if (lead < 0xe0) return 2;
  if (left < 3 || !IsContinuation(p[2])) return 0;
  if (lead < 0xf0) return 3;
  if (left < 4 || !IsContinuation(p[3])) return 0;
  return 4;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  size_t left = text.size();
  while (left > 0) {
    if (left >= 8) {
      uint64_t word = 0;
      std::memcpy(&word, p, 8);
      if ((word & 0x8080808080808080) == 0) {
        p += 8;
        left -= 8;
        continue;
      }
    }
    const size_t n = *p < 0x80 ? 1 : SequenceLength(p, left);
    if (n == 0) return false;
    p += n;
    left -= n;
  }
  return true;
}

}  // namespace spillway::wire
