// grpc.reflection (v1 and v1alpha) on the shard's thread, so that any gRPC tool
// can list and call the broker's services.
#pragma once

#include <memory>

#include "broker/service/call.h"

namespace spillway::service {

std::unique_ptr<Handler> MakeReflection(Call* call);

}  // namespace spillway::service
