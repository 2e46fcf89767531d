// Tunables between the protocol and the core, with their defaults and ranges.
#pragma once

#include "broker/base/error.h"
#include "broker/queue/tuning.h"
#include "spillway/v1/queue.pb.h"

namespace spillway::runtime {

// Every default of proto/registry.toml.
queue::Tuning DefaultTuning();

// `base` with the fields that `request` sets. INVALID_ARGUMENT that names the
// field ("tuning.window_bytes") if one is out of range, an unknown enum, or two
// contradict each other. With `fit`, fields that the request leaves out follow
// those that it sets where they would contradict (a small window brings a small
// max_message_bytes with it); for new queues.
Result<queue::Tuning> ApplyTuning(const queue::Tuning& base,
                                  const ::spillway::v1::QueueTuning& request, bool fit);

// Every field set.
::spillway::v1::QueueTuning ToProto(const queue::Tuning& tuning);

}  // namespace spillway::runtime
