// What relay_many_server and relay_many_load share: events are handled in rounds, as the
// broker does it, so that what is due for a stream goes out in one write.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <cstring>

namespace spillway::bench {

// Events of one round; then what was put off is written, whatever else is there.
constexpr int kMaxEvents = 256;

// Handles the events that are there, at least one, for which it waits until `deadline`,
// then ends the round. Returns false at the deadline.
// HANDLE: void(void* tag, bool ok). END: void().
template <typename Handle, typename End>
bool RunRound(grpc::CompletionQueue* queue, gpr_timespec deadline, Handle handle, End end) {
  void* tag = nullptr;
  bool ok = false;
  auto status = queue->AsyncNext(&tag, &ok, deadline);
  if (status != grpc::CompletionQueue::GOT_EVENT) return false;
  for (int events = 1; status == grpc::CompletionQueue::GOT_EVENT; ++events) {
    handle(tag, ok);
    if (events == kMaxEvents) break;
    status = queue->AsyncNext(&tag, &ok, gpr_inf_past(GPR_CLOCK_MONOTONIC));
  }
  end();
  return true;
}

// What confirms, and what settles: how many frames have come so far, in 10 bytes.
constexpr size_t kCountBytes = 10;

inline grpc::ByteBuffer CountFrame(uint64_t count) {
  char bytes[kCountBytes] = {};
  std::memcpy(bytes, &count, sizeof count);
  const grpc::Slice slice(bytes, sizeof bytes);
  return {&slice, 1};
}

// 0 of what is no such frame.
inline uint64_t CountOf(const grpc::ByteBuffer& frame) {
  grpc::Slice slice;
  uint64_t count = 0;
  if (frame.Length() != kCountBytes || !frame.DumpToSingleSlice(&slice).ok()) return 0;
  std::memcpy(&count, slice.begin(), sizeof count);
  return count;
}

}  // namespace spillway::bench
