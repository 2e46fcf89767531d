// Loading, replaying and reading a lane out of the entry table.
#pragma once

#include <string>

#include "broker/storage/entry_table.h"
#include "broker/storage/lane_state.h"

namespace spillway::storage {

// Fills `lane` from the disk once. Thread-safe.
Err LoadLane(const EntryTable& table, LaneState& lane, std::string* why);

// Calls `replay` with the valid entries from the last snapshot on (or from the
// start) up to `upto`, data and control entries merged in order.
Err ReplayLane(const EntryTable& table, LaneState& lane, Position upto,
               const LogStore::Replay& replay, std::string* why);

// See LogStore::Read.
struct ReadResult {
  Err err = Err::kOk;
  std::vector<Entry> entries;
  Position next = 0;
  std::string why;
};
ReadResult ReadLane(const EntryTable& table, LaneState& lane, Position from, size_t max_bytes);

}  // namespace spillway::storage
