#include "broker/session/validate.h"

#include <string>

#include "broker/base/ids.h"
#include "broker/base/registry.gen.h"

namespace spillway::session {

std::optional<Error> CheckProtocol(uint32_t protocol) {
  if (protocol == registry::limit::kProtocolVersion) return std::nullopt;
  return Error{.kind = ErrorKind::kUnsupported,
               .message = "open.protocol must be " +
                          std::to_string(registry::limit::kProtocolVersion) +
                          "; this broker speaks no other",
               .field = "open.protocol",
               .limit = registry::limit::kProtocolVersion,
               .actual = protocol};
}

std::optional<Error> CheckName(std::string_view name, std::string_view field) {
  if (IsValidName(name)) return std::nullopt;
  std::string path(field);
  std::string message =
      path + " must be 1 to 255 of A-Z a-z 0-9 . _ - and must not begin with a dot";
  return InvalidArgument(std::move(path), std::move(message));
}

std::optional<Error> CheckClient(std::string_view client) {
  constexpr uint64_t kMax = registry::limit::kMaxClientBytes;
  if (client.size() <= kMax) return std::nullopt;
  return TooLarge("open.client", "open.client is longer than allowed", kMax, client.size());
}

std::optional<Error> CheckPartition(uint32_t partition, std::string_view field) {
  if (partition == 0) return std::nullopt;
  std::string path(field);
  return InvalidArgument(path, path + " must be 0; queues have one partition");
}

std::optional<Error> ReadRanges(
    const google::protobuf::RepeatedPtrField<::spillway::v1::OffsetRange>& ranges,
    std::string_view field, uint32_t max, std::vector<OffsetRange>* out) {
  out->clear();
  const auto n = static_cast<uint64_t>(ranges.size());
  std::string path(field);
  if (n == 0) return InvalidArgument(path, path + " must not be empty");
  if (n > max) return TooLarge(path, path + " has more ranges than allowed", max, n);
  out->reserve(n);
  for (const ::spillway::v1::OffsetRange& range : ranges) {
    if (range.count() == 0 || range.first_offset() > UINT64_MAX - range.count()) {
      path += "[" + std::to_string(out->size()) + "]";
      return InvalidArgument(path, path + " is empty or passes the largest offset");
    }
    out->push_back({.first = range.first_offset(), .count = range.count()});
  }
  return std::nullopt;
}

}  // namespace spillway::session
