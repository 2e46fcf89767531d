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
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return ErrorKind::kUnsupported;
    case grpc::StatusCode::OUT_OF_RANGE:
      return ErrorKind::kOutOfRange;
    case grpc::StatusCode::DATA_LOSS:
      return ErrorKind::kCorrupt;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return ErrorKind::kTimedOut;
    case grpc::StatusCode::FAILED_PRECONDITION:
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

Error FromCall(const grpc::Status& status, const grpc::ClientContext& context) {
  if (status.ok()) return {};
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find(kErrorTrailer);
  v1::Error typed;
  if (it != trailers.end() &&
      typed.ParseFromArray(it->second.data(), static_cast<int>(it->second.size()))) {
    return FromProto(typed);
  }
  return {.kind = KindOf(status.error_code()), .message = status.error_message()};
}

}  // namespace spillway::client::internal
