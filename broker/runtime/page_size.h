// How many entries a page of a list holds.
#pragma once

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "broker/base/error.h"
#include "broker/base/registry.gen.h"

namespace spillway::runtime {

// 0 means the most; above it is refused, so that nobody takes a part for all.
inline Result<uint32_t> PageSize(uint32_t asked, uint32_t when_zero, const char* field) {
  const auto most = static_cast<uint32_t>(registry::limit::kMaxPageSize);
  if (asked > most) {
    Error error = InvalidArgument(field, absl::StrCat(field, " is at most ", most));
    error.limit = most;
    error.actual = asked;
    return error;
  }
  return asked == 0 ? when_zero : asked;
}

}  // namespace spillway::runtime
