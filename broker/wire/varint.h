// Protobuf's variable-length integers, tags and UTF-8, over contiguous bytes.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace spillway::wire {

// How many bytes `value` takes as a varint.
constexpr uint32_t VarintSize(uint64_t value) {
  return (static_cast<uint32_t>(std::bit_width(value | 1)) * 9 + 64) / 64;
}

// Writes `value` and returns the byte after it. REQUIRES: room for VarintSize.
inline char* PutVarint(char* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}

// Reads a varint of up to 10 bytes; nullptr if it is cut or too long. Longer
// encodings of a small value are accepted, as protobuf does.
inline const uint8_t* GetVarint(const uint8_t* p, const uint8_t* end, uint64_t* value) {
  uint64_t result = 0;
  for (uint32_t shift = 0; shift < 70; shift += 7) {
    if (p == end) return nullptr;
    const uint64_t byte = *p++;
    if (shift == 63 && byte > 1) return nullptr;
    result |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      *value = result;
      return p;
    }
  }
  return nullptr;
}

// Reads a varint below 2^32 in its shortest encoding; nullptr otherwise. For
// tags and lengths, whose extent must follow from their value.
inline const uint8_t* GetCanonical32(const uint8_t* p, const uint8_t* end, uint32_t* value) {
  if (p == end) return nullptr;
  if (*p < 0x80) [[likely]] {
    *value = *p;
    return p + 1;
  }
  uint64_t wide = 0;
  const uint8_t* next = GetVarint(p, end, &wide);
  if (next == nullptr || wide > UINT32_MAX) return nullptr;
  if (VarintSize(wide) != static_cast<uint32_t>(next - p)) return nullptr;
  *value = static_cast<uint32_t>(wide);
  return next;
}

// Whether `text` is UTF-8: no surrogates, no overlong forms, at most U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace spillway::wire
