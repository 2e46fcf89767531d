// Turns free space into what the store may still take, and holds the reserve.
#pragma once

#include <string>

#include "broker/storage/commit_thread.h"
#include "broker/storage/disk_space.h"

namespace spillway::storage {

// Thread-safety: one thread at a time.
class DiskWatch {
 public:
  struct Options {
    std::string path;
    uint64_t floor_bytes = 0;            // below: no data
    uint64_t reserve_release_bytes = 0;  // below: the reserve goes
    DiskSpaceFn space;
  };
  DiskWatch(Options options, ReserveFile reserve);

  // Looks once. A file system that does not say counts as having enough.
  CommitThread::DiskState Check();
  // Whether a recovery can be tried; gives the reserve up if that helps.
  bool EnoughToOpen();

 private:
  const Options options_;
  ReserveFile reserve_;
  CommitThread::DiskState state_ = CommitThread::DiskState::kEnough;
};

}  // namespace spillway::storage
