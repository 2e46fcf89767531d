#include "broker/service/status.h"

#include <string>

#include "broker/base/registry.gen.h"
#include "broker/session/codec.h"
#include "spillway/v1/error.pb.h"

namespace spillway::service {
namespace {

namespace pb = ::spillway::v1;

// The two enums are one; see base/error.h.
static_assert(static_cast<int>(ErrorKind::kInternal) == pb::ERROR_KIND_INTERNAL);
static_assert(static_cast<int>(ErrorKind::kInternal) == pb::ErrorKind_MAX);
static_assert(static_cast<int>(ErrorKind::kFenced) == pb::ERROR_KIND_FENCED);
static_assert(registry::kErrorKinds.size() == pb::ErrorKind_MAX);

// A trailer is a header: bound what it takes of the peer's header table.
constexpr size_t kMaxMessageBytes = 1024;

}  // namespace

grpc::Status MakeStatus(const std::optional<Error>& error, grpc::ServerContext* context) {
  if (!error) return grpc::Status::OK;
  auto number = static_cast<size_t>(error->kind);
  if (number == 0 || number > registry::kErrorKinds.size()) {
    number = static_cast<size_t>(ErrorKind::kInternal);
  }
  pb::Error encoded;
  session::ToProto(*error, &encoded);
  encoded.set_kind(static_cast<pb::ErrorKind>(number));
  if (encoded.message().size() > kMaxMessageBytes) {
    encoded.mutable_message()->resize(kMaxMessageBytes);
  }
  context->AddTrailingMetadata(kErrorTrailer, encoded.SerializeAsString());
  const auto code = static_cast<grpc::StatusCode>(registry::kErrorKinds[number - 1].grpc_code);
  return {code, encoded.message()};
}

}  // namespace spillway::service
