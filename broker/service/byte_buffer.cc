#include "broker/service/byte_buffer.h"

#include <grpcpp/impl/codegen/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/container/inlined_vector.h"

namespace spillway::service {
namespace {

// Below this a copy is cheaper than lending slices.
constexpr size_t kCopyBelowBytes = 2048;

void GiveBack(void* released) { wire::Buffer::Adopt(released); }

grpc::Slice Lend(const wire::Slice& slice) {
  const char* begin = slice.buffer.data() + slice.begin;
  wire::Buffer reference = slice.buffer;
  return grpc::Slice(const_cast<char*>(begin), slice.length, &GiveBack, reference.Release());
}

}  // namespace

wire::Buffer CopyIn(grpc::ByteBuffer& message) {
  wire::Buffer buffer = wire::Buffer::Allocate(message.Length());
  char* out = buffer.mutable_data();
  grpc::ProtoBufferReader reader(&message);
  const void* data = nullptr;
  int size = 0;
  while (reader.Next(&data, &size)) {
    std::memcpy(out, data, static_cast<size_t>(size));
    out += size;
  }
  return buffer;
}

grpc::ByteBuffer MakeMessage(session::OutFrame frame) {
  const size_t total = frame.bytes();
  if (frame.fields.empty()) {
    const grpc::Slice slice(frame.head);
    return {&slice, 1};
  }
  if (total < kCopyBelowBytes) {
    const grpc::Slice slice(total);
    auto* out = const_cast<uint8_t*>(slice.begin());
    out = std::copy(frame.head.begin(), frame.head.end(), out);
    for (const wire::Slice& field : frame.fields) {
      std::memcpy(out, field.buffer.data() + field.begin, field.length);
      out += field.length;
    }
    return {&slice, 1};
  }
  absl::InlinedVector<grpc::Slice, 8> slices;
  slices.emplace_back(frame.head);
  for (const wire::Slice& field : frame.fields) {
    if (field.length > 0) slices.push_back(Lend(field));
  }
  return {slices.data(), slices.size()};
}

}  // namespace spillway::service
