#include "clients/cpp/spillway/internal/error_proto.h"

namespace spillway::client::internal {
namespace {

ErrorKind KindOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      return ErrorKind::kInvalidArgument;
    case grpc::StatusCode::NOT_FOUND:
      return ErrorKind::kNotFound;
    case grpc::StatusCode::ALREADY_EXISTS:
      return ErrorKind::kAlreadyExists;
    case grpc::StatusCode::UNIMPLEMENTED:
      return ErrorKind::kUnsupported;
    case grpc::StatusCode::OUT_OF_RANGE:
      return ErrorKind::kOutOfRange;
    case grpc::StatusCode::DATA_LOSS:
      return ErrorKind::kCorrupt;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return ErrorKind::kTimedOut;
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return ErrorKind::kProtocol;
    default:
      // What a broken connection looks like: UNAVAILABLE, CANCELLED, UNKNOWN, and
      // INTERNAL for a stream that was reset.
      return ErrorKind::kUnavailable;
  }
}

}  // namespace

Error FromProto(const v1::Error& error) {
  const int kind = error.kind();
  return {.kind = kind >= 1 && kind <= 23 ? static_cast<ErrorKind>(kind) : ErrorKind::kInternal,
          .message = error.message(),
          .queue = error.queue(),
          .field = error.field(),
          .limit = error.limit(),
          .actual = error.actual(),
          .retry_after_ms = error.retry_after_ms(),
          .head_offset = error.head_offset(),
          .tail_offset = error.tail_offset()};
}

Error FromStatus(const grpc::Status& status, std::optional<std::string_view> trailer) {
  if (status.ok()) return {};
  v1::Error typed;
  if (trailer && typed.ParseFromArray(trailer->data(), static_cast<int>(trailer->size()))) {
    return FromProto(typed);
  }
  return {.kind = KindOf(status.error_code()), .message = status.error_message()};
}

Error FromCall(const grpc::Status& status, const grpc::ClientContext& context) {
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find(kErrorTrailer);
  if (it == trailers.end()) return FromStatus(status, std::nullopt);
  return FromStatus(status, std::string_view(it->second.data(), it->second.size()));
}

}  // namespace spillway::client::internal
