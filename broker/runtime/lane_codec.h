// A lane's state between the core and the log.
#pragma once

#include <string>
#include <string_view>

#include "broker/queue/lane.h"
#include "broker/storage/log_store.h"
#include "spillway/storage/v1/lane.pb.h"

namespace spillway::runtime {

namespace spb = ::spillway::storage::v1;

spb::GroupState ToProto(const queue::Group& group);
// Adds the group to the lane, or replaces its state.
void RestoreGroup(const spb::GroupState& state, queue::Lane* lane);

// Without producers and the reservation.
spb::LaneSnapshot ToProto(const queue::Lane& lane);
void RestoreLane(const spb::LaneSnapshot& snapshot, queue::Lane* lane);

// An entry that holds a message.
template <typename Message>
storage::Record ControlRecord(const Message& message,
                              storage::Kind kind = storage::Kind::kControl) {
  storage::Record record;
  record.kind = kind;
  wire::Buffer body = wire::Buffer::Allocate(message.ByteSizeLong());
  message.SerializeToArray(body.mutable_data(), static_cast<int>(body.size()));
  const auto length = static_cast<uint32_t>(body.size());
  record.parts[0] = wire::Slice{std::move(body), 0, length};
  return record;
}

}  // namespace spillway::runtime
