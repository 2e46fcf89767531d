#include "broker/cli/errors.h"

#include <utility>

#include "broker/base/registry.gen.h"
#include "broker/cli/format.h"

namespace spillway::cli {

using client::Error;
using client::ErrorKind;

int ExitCodeOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalidArgument:
    case ErrorKind::kTooLarge:
      return kUsage;
    case ErrorKind::kNotFound:
      return kNotFound;
    case ErrorKind::kAlreadyExists:
    case ErrorKind::kRevisionMismatch:
    case ErrorKind::kFenced:
    case ErrorKind::kExclusive:
      return kConflict;
    case ErrorKind::kQueueFull:
    case ErrorKind::kLimitReached:
      return kFull;
    case ErrorKind::kUnavailable:
    case ErrorKind::kStoreFailed:
      return kUnavailable;
    case ErrorKind::kTimedOut:
      return kTimedOut;
    case ErrorKind::kOutOfRange:
      return kOutOfRange;
    default:
      return kFailed;
  }
}

std::string Describe(const Error& error) {
  std::string details;
  const auto add = [&details](const std::string& detail) {
    details += (details.empty() ? "" : "; ") + detail;
  };
  if (!error.field.empty()) add("field " + error.field);
  if (error.limit != 0) add("limit " + HumanCount(error.limit));
  if (error.actual != 0) add("actual " + HumanCount(error.actual));
  if (error.retry_after_ms != 0) add("try again in " + HumanDuration(error.retry_after_ms));
  return error.ToString() + (details.empty() ? "" : " (" + details + ")");
}

Json ErrorJson(const Error& error, std::string_view hint) {
  Json out;
  out["kind"] = client::Name(error.kind);
  out["message"] = error.message;
  if (!error.queue.empty()) out["queue"] = error.queue;
  if (!error.field.empty()) out["field"] = error.field;
  if (error.limit != 0) out["limit"] = error.limit;
  if (error.actual != 0) out["actual"] = error.actual;
  if (error.retry_after_ms != 0) out["retry_after_ms"] = error.retry_after_ms;
  if (error.kind == ErrorKind::kOutOfRange) {
    out["head_offset"] = error.head_offset;
    out["tail_offset"] = error.tail_offset;
  }
  if (!hint.empty()) out["hint"] = hint;
  out["exit_code"] = ExitCodeOf(error.kind);
  return {{"error", out}};
}

Error WithAddress(Error error, const std::string& address) {
  if (error.kind != ErrorKind::kUnavailable) return error;
  if (error.message.find("failed to connect") == std::string::npos &&
      error.message.find("DNS resolution failed") == std::string::npos) {
    return error;  // a broker answered
  }
  // The reason comes last: "…: Failed to connect to remote host: Connection refused".
  const size_t colon = error.message.rfind(": ");
  const std::string reason =
      colon == std::string::npos ? error.message : error.message.substr(colon + 2);
  error.message = "no broker answers at " + address + " (" + reason +
                  "); start spillwayd there, or name another with --address or " +
                  std::string(registry::env::kAddress);
  return error;
}

}  // namespace spillway::cli
