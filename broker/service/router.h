// Which queue a call is about.
#pragma once

#include <string>
#include <string_view>

#include "broker/wire/buffer.h"

namespace spillway::service {

// The queue that the first message of a call of `method` names: what it opens, or what
// the request is about. Empty if there is none, the method is about all queues, or the
// message cannot be decoded; whoever handles the call says so.
std::string QueueNamedBy(std::string_view method, const wire::Buffer& first);

}  // namespace spillway::service
