#include "broker/storage/crc32c.h"

#include <array>
#include <cstring>

namespace spillway::storage {
namespace {

// Eight tables, so that eight bytes are folded at a time.
constexpr auto kTables = [] {
  std::array<std::array<uint32_t, 256>, 8> t{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c >> 1) ^ ((c & 1) != 0 ? 0x82f63b78u : 0);
    t[0][i] = c;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (size_t k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
  }
  return t;
}();

#if defined(__x86_64__)
// Three parts are summed side by side, because the instruction begins each cycle
// and ends three cycles later; then the first two are moved past what followed them.
constexpr size_t kPartBytes = 1024;

// What the sum becomes after kPartBytes of zeros: by linearity one table for each of
// its bytes.
constexpr auto kAfterPart = [] {
  std::array<uint32_t, 32> of_bit{};
  for (size_t bit = 0; bit < 32; ++bit) {
    uint32_t c = uint32_t{1} << bit;
    for (size_t i = 0; i < kPartBytes; ++i) c = (c >> 8) ^ kTables[0][c & 0xff];
    of_bit[bit] = c;
  }
  std::array<std::array<uint32_t, 256>, 4> t{};
  for (size_t byte = 0; byte < 4; ++byte) {
    for (size_t value = 0; value < 256; ++value) {
      for (size_t bit = 0; bit < 8; ++bit) {
        if ((value >> bit & 1) != 0) t[byte][value] ^= of_bit[byte * 8 + bit];
      }
    }
  }
  return t;
}();

uint64_t AfterPart(uint64_t c) {
  return kAfterPart[0][c & 0xff] ^ kAfterPart[1][c >> 8 & 0xff] ^ kAfterPart[2][c >> 16 & 0xff] ^
         kAfterPart[3][c >> 24 & 0xff];
}

uint64_t Word(const char* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

__attribute__((target("sse4.2"))) uint32_t Hardware(std::string_view bytes, uint32_t crc) {
  const char* p = bytes.data();
  size_t n = bytes.size();
  uint64_t c = ~crc;
  for (; n >= 3 * kPartBytes; p += 3 * kPartBytes, n -= 3 * kPartBytes) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < kPartBytes; i += 8) {
      c = __builtin_ia32_crc32di(c, Word(p + i));
      second = __builtin_ia32_crc32di(second, Word(p + kPartBytes + i));
      third = __builtin_ia32_crc32di(third, Word(p + 2 * kPartBytes + i));
    }
    c = AfterPart(AfterPart(c) ^ second) ^ third;
  }
  for (; n >= 8; p += 8, n -= 8) c = __builtin_ia32_crc32di(c, Word(p));
  uint32_t c32 = static_cast<uint32_t>(c);
  for (; n > 0; ++p, --n) c32 = __builtin_ia32_crc32qi(c32, static_cast<uint8_t>(*p));
  return ~c32;
}
#endif

}  // namespace

namespace internal {

uint32_t Crc32cPortable(std::string_view bytes, uint32_t crc) {
  const auto* p = reinterpret_cast<const uint8_t*>(bytes.data());
  size_t n = bytes.size();
  uint32_t c = ~crc;
  for (; n >= 8; p += 8, n -= 8) {
    c ^= uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
    c = kTables[7][c & 0xff] ^ kTables[6][c >> 8 & 0xff] ^ kTables[5][c >> 16 & 0xff] ^
        kTables[4][c >> 24] ^ kTables[3][p[4]] ^ kTables[2][p[5]] ^ kTables[1][p[6]] ^
        kTables[0][p[7]];
  }
  for (; n > 0; ++p, --n) c = kTables[0][(c ^ *p) & 0xff] ^ (c >> 8);
  return ~c;
}

}  // namespace internal

uint32_t Crc32c(std::string_view bytes, uint32_t crc) {
#if defined(__x86_64__)
  static const bool hardware = __builtin_cpu_supports("sse4.2") != 0;
  if (hardware) return Hardware(bytes, crc);
#endif
  return internal::Crc32cPortable(bytes, crc);
}

}  // namespace spillway::storage
