// Fixed-width integers in byte strings.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace spillway::storage {

static_assert(std::endian::native == std::endian::little, "the stored format is little-endian");

template <typename T>
void PutFixed(char* to, T value) {
  std::memcpy(to, &value, sizeof value);
}
template <typename T>
T GetFixed(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
// Big-endian, so that bytes sort as the numbers do.
inline void PutBig32(char* to, uint32_t v) { PutFixed(to, __builtin_bswap32(v)); }
inline void PutBig64(char* to, uint64_t v) { PutFixed(to, __builtin_bswap64(v)); }
inline uint32_t GetBig32(const char* from) { return __builtin_bswap32(GetFixed<uint32_t>(from)); }
inline uint64_t GetBig64(const char* from) { return __builtin_bswap64(GetFixed<uint64_t>(from)); }

}  // namespace spillway::storage
