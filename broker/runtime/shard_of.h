// Which shard a queue belongs to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace spillway::runtime {

// The same for a name and a number of shards, always. Nothing of it is stored: a
// folder may be opened with another number.
// REQUIRES: shards > 0.
inline size_t ShardOf(std::string_view queue, size_t shards) {
  if (shards == 1) return 0;
  // FNV-1a, and the last step of MurmurHash3, because names often differ in their last
  // character only.
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : queue) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
  return (hash ^ (hash >> 33)) % shards;
}

}  // namespace spillway::runtime
