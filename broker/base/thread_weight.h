// How much of a busy core a thread gets.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

namespace spillway {

// Work that may wait: a thread of this nice value has a third of the weight of others,
// and makes way when one of them wakes up.
inline constexpr int kBackgroundNice = 5;

// Lowers the calling thread; no right is needed. Where the kernel refuses, the thread
// is as it was.
inline void BeBackground() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kBackgroundNice);
}

}  // namespace spillway
