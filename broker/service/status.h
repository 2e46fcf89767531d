// Errors as gRPC says them.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <optional>

#include "broker/base/error.h"

namespace spillway::service {

// The trailer that carries an encoded spillway.v1.Error.
inline constexpr char kErrorTrailer[] = "spillway-error-bin";

// The status of an error, or OK; adds the trailer to the call's context.
// REQUIRES: the call has not finished.
grpc::Status MakeStatus(const std::optional<Error>& error, grpc::ServerContext* context);

}  // namespace spillway::service
