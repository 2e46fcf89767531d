// Places to begin, on the wire.
#pragma once

#include "clients/cpp/spillway/options.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::client::internal {

void SetStart(const Start& start, v1::Start* out);

}  // namespace spillway::client::internal
