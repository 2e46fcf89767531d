// A replay: a place in the log that no group knows of.
#pragma once

#include <limits>

#include "broker/base/types.h"
#include "broker/queue/fetch.h"

namespace spillway::queue {

struct Reader {
  Offset next = 0;
  // Exclusive; whichever comes first.
  Offset stop = std::numeric_limits<Offset>::max();
  UnixMillis stop_time = std::numeric_limits<UnixMillis>::max();
  bool stopped = false;
  Fetch fetch;
};

}  // namespace spillway::queue
