// What Decode takes, Encode gives back byte for byte. Run:
// bazel run --config=fuzz //broker/failure:producer_table_fuzz
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "broker/failure/producer_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  spillway::failure::ProducerTable table;
  if (table.Decode(bytes)) {
    if (!bytes.empty() && table.Encode() != bytes) std::abort();
  } else if (table.size() != 0) {
    std::abort();
  }
  return 0;
}
