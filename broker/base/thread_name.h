// Threads' names, as profilers and /proc show them.
#pragma once

#include <pthread.h>

#include <string>

namespace spillway {

// Names the calling thread. Of a long name the first 15 characters count.
inline void NameThread(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

}  // namespace spillway
