#include "clients/cpp/spillway/error.h"

#include "broker/base/registry.gen.h"

namespace spillway::client {
namespace {

const registry::ErrorKindInfo* Find(ErrorKind kind) {
  for (const registry::ErrorKindInfo& info : registry::kErrorKinds) {
    if (info.number == static_cast<int>(kind)) return &info;
  }
  return nullptr;
}

}  // namespace

std::string_view Name(ErrorKind kind) {
  const registry::ErrorKindInfo* info = Find(kind);
  return info == nullptr ? "UNSPECIFIED" : info->name;
}

bool IsRetryable(ErrorKind kind) {
  const registry::ErrorKindInfo* info = Find(kind);
  return info != nullptr && info->retryable;
}

bool IsRetryable(const Error& error) { return error.retry_after_ms > 0 || IsRetryable(error.kind); }

std::string Error::ToString() const {
  std::string text(Name(kind));
  if (!message.empty()) text += ": " + message;
  return text;
}

}  // namespace spillway::client
