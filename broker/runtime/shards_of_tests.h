// How many shards the broker of a test has.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <string>

namespace spillway::runtime {

// One, or what the target says: tests of one broker also run with several shards.
inline size_t ShardsOfTests() {
  const char* text = std::getenv("SPILLWAY_TEST_SHARDS");  // NOLINT(concurrency-mt-unsafe)
  return text == nullptr ? 1 : std::stoul(text);
}

}  // namespace spillway::runtime
