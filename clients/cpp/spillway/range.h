// How offsets are named.
#pragma once

#include <cstdint>
#include <vector>

namespace spillway::client {

// Offsets first_offset, first_offset + 1, … (`count` of them).
struct OffsetRange {
  uint64_t first_offset = 0;
  uint64_t count = 0;
  uint64_t end() const { return first_offset + count; }
  bool operator==(const OffsetRange&) const = default;
};

// Adds a range at the end, merged with the last one where they touch.
inline void AppendRange(const OffsetRange& range, std::vector<OffsetRange>* ranges) {
  if (!ranges->empty() && ranges->back().end() == range.first_offset) {
    ranges->back().count += range.count;
  } else {
    ranges->push_back(range);
  }
}

}  // namespace spillway::client
