// Names: what they may look like, and how the broker makes its own.
#pragma once

#include <string>
#include <string_view>

#include "broker/base/random.h"

namespace spillway {

// `[A-Za-z0-9._-]{1,255}`, no leading dot: queues, groups, producers.
bool IsValidName(std::string_view name);

// The prefix, a dash and 80 random bits in lower-case base 32; a valid name if the
// prefix is one.
std::string MakeId(std::string_view prefix, Random& random);

}  // namespace spillway
