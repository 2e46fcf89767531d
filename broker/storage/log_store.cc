#include "broker/storage/log_store.h"

namespace spillway::storage {

std::string_view ErrName(Err err) {
  switch (err) {
    case Err::kOk:
      return "OK";
    case Err::kFenced:
      return "FENCED";
    case Err::kUnknown:
      return "UNKNOWN";
    case Err::kOverloaded:
      return "OVERLOADED";
    case Err::kTooLarge:
      return "TOO_LARGE";
    case Err::kTrimmed:
      return "TRIMMED";
    case Err::kUnavailable:
      return "UNAVAILABLE";
    case Err::kCorrupt:
      return "CORRUPT";
    case Err::kMisconfigured:
      return "MISCONFIGURED";
  }
  return "INVALID";
}

}  // namespace spillway::storage
