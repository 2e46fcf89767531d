// CRC-32C (Castagnoli), by the processor's instruction where there is one.
#pragma once

#include <cstdint>
#include <string_view>

namespace spillway::storage {

// The checksum of `bytes`, going on from `crc` (0 to start).
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

namespace internal {
uint32_t Crc32cPortable(std::string_view bytes, uint32_t crc);
}  // namespace internal

}  // namespace spillway::storage
