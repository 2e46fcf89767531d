// What went wrong, as a program sees it: the client's mirror of spillway.v1.Error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace spillway::client {

// The numbers of spillway.v1.ErrorKind; docs/registry.md explains each.
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

// "QUEUE_FULL", as in the registry.
std::string_view Name(ErrorKind kind);
// Whether an error of that kind passes by itself.
bool IsRetryable(ErrorKind kind);

// A refusal, of the broker or of the client itself.
struct Error {
  ErrorKind kind = ErrorKind::kUnspecified;
  // One sentence for people.
  std::string message;
  // The queue concerned, where there is one.
  std::string queue;
  // The field at fault, as a path in the request ("tuning.window_bytes").
  std::string field;
  // The limit that was passed, and what came.
  uint64_t limit = 0;
  uint64_t actual = 0;
  // How long to wait before trying again; 0: waiting does not help.
  uint64_t retry_after_ms = 0;
  // With kOutOfRange: the lowest kept offset and the offset of the next record.
  uint64_t head_offset = 0;
  uint64_t tail_offset = 0;

  // "QUEUE_FULL: the queue orders is full".
  std::string ToString() const;
};

// Whether streams reopen by themselves after it: its kind passes, or the broker said
// when to come again.
bool IsRetryable(const Error& error);

// A value, or the reason why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : value_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // REQUIRES: ok().
  T& value() { return std::get<0>(value_); }
  const T& value() const { return std::get<0>(value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  // REQUIRES: !ok().
  Error& error() { return std::get<1>(value_); }
  const Error& error() const { return std::get<1>(value_); }

 private:
  std::variant<T, Error> value_;
};

// Success without a value: `return Ok();`.
struct Done {};
using Status = Result<Done>;
inline Status Ok() { return Done{}; }

}  // namespace spillway::client
