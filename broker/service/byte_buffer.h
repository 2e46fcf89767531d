// Frames between gRPC's memory and ours.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "broker/session/frame.h"
#include "broker/wire/buffer.h"

namespace spillway::service {

// Copies a received message into one block: gRPC's own slices pin far more
// memory than they hold.
wire::Buffer CopyIn(grpc::ByteBuffer& message);

// A message of the frame's bytes. Small frames are copied into one slice; of
// large ones the fields are lent and given back when gRPC has sent them.
grpc::ByteBuffer MakeMessage(session::OutFrame frame);

}  // namespace spillway::service
