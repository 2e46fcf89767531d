// From the wire's errors to the client's.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <optional>
#include <string_view>

#include "clients/cpp/spillway/error.h"
#include "spillway/v1/error.pb.h"

namespace spillway::client::internal {

// Carries an encoded spillway.v1.Error beside the status of a call.
constexpr char kErrorTrailer[] = "spillway-error-bin";

Error FromProto(const v1::Error& error);
// The typed error of the trailer, or one made from the status code. Unspecified if
// the status is OK.
Error FromStatus(const grpc::Status& status, std::optional<std::string_view> trailer);
// As FromStatus, with the trailer of the call.
Error FromCall(const grpc::Status& status, const grpc::ClientContext& context);

}  // namespace spillway::client::internal
