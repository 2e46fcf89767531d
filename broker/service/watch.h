// Admin.Watch: a snapshot at once, and then at every interval.
#pragma once

#include <memory>

#include "broker/service/call.h"

namespace spillway::service {

std::unique_ptr<Handler> MakeWatch(Call* call);

}  // namespace spillway::service
