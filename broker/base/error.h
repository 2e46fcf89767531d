// The typed refusal that every floor hands up unchanged.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "broker/base/types.h"

namespace spillway {

// The numbers of spillway.v1.ErrorKind (checked where the two meet, in service).
enum class ErrorKind : uint8_t {
  kUnspecified = 0,
  kInvalidArgument = 1,
  kTooLarge = 2,
  kNotFound = 3,
  kAlreadyExists = 4,
  kRevisionMismatch = 5,
  kQueueFull = 6,
  kLimitReached = 7,
  kCreditExceeded = 8,
  kCreditRegressed = 9,
  kCounterMismatch = 10,
  kSequenceGap = 11,
  kFenced = 12,
  kOutOfRange = 13,
  kProtocol = 14,
  kTimedOut = 15,
  kSlowReader = 16,
  kExclusive = 17,
  kUnavailable = 18,
  kStoreFailed = 19,
  kCorrupt = 20,
  kClosed = 21,
  kUnsupported = 22,
  kInternal = 23,
};

// See spillway.v1.Error for the fields.
struct Error {
  ErrorKind kind = ErrorKind::kUnspecified;
  std::string message;
  std::string queue;
  std::string field;
  uint64_t limit = 0;
  uint64_t actual = 0;
  uint64_t retry_after_ms = 0;
  Offset head = 0;
  Offset tail = 0;
};

inline Error InvalidArgument(std::string field, std::string message) {
  return {.kind = ErrorKind::kInvalidArgument,
          .message = std::move(message),
          .field = std::move(field)};
}
inline Error TooLarge(std::string field, std::string message, uint64_t limit, uint64_t actual) {
  return {.kind = ErrorKind::kTooLarge,
          .message = std::move(message),
          .field = std::move(field),
          .limit = limit,
          .actual = actual};
}

// A value or the reason why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  // NOLINTBEGIN(google-explicit-constructor): `return value;` is the point.
  Result(T value) : value_(std::move(value)) {}
  Result(Error error) : value_(std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)
  bool ok() const { return value_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // REQUIRES: ok().
  T& value() { return std::get<0>(value_); }
  const T& value() const { return std::get<0>(value_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  // REQUIRES: !ok().
  Error& error() { return std::get<1>(value_); }
  const Error& error() const { return std::get<1>(value_); }

 private:
  std::variant<T, Error> value_;
};

struct Unit {};
using Status = Result<Unit>;

}  // namespace spillway
