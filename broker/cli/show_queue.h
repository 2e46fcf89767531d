// A queue for people: what it holds, what it has done, how it is tuned.
#pragma once

#include "spillway/v1/admin.pb.h"

namespace spillway::cli {

void ShowQueue(const v1::Queue& queue);
// The tunables that differ, as a table.
void ShowChanges(const v1::QueueTuning& before, const v1::QueueTuning& after);

}  // namespace spillway::cli
