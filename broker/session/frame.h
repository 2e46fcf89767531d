// Frames between protobuf and bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "broker/base/error.h"
#include "broker/wire/buffer.h"
#include "google/protobuf/message.h"

namespace spillway::session {

// A frame to be written: `head`, then the fields as they are.
struct OutFrame {
  std::string head;
  absl::InlinedVector<wire::Slice, 4> fields;
  // Another frame follows at once, so this one need not be flushed alone.
  bool more = false;

  size_t bytes() const {
    size_t n = head.size();
    for (const wire::Slice& slice : fields) n += slice.length;
    return n;
  }
};

// The frame whose oneof field `number` (below 16) is `message`.
std::string EncodeFrame(uint32_t number, const google::protobuf::Message& message);

// Parses one field of a frame into `message`. INVALID_ARGUMENT that names
// `field`, or the string in it that is not UTF-8.
std::optional<Error> ParseField(std::string_view bytes, std::string_view field,
                                google::protobuf::Message* message);

// The same for a whole request of a unary call.
std::optional<Error> ParseRequest(std::string_view bytes, google::protobuf::Message* message);

}  // namespace spillway::session
