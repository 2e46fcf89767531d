// What the scanner takes, protobuf decodes to the same; the rest it refuses with
// a named field. Run: bazel run --config=fuzz //broker/wire:publish_scan_fuzz
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "broker/wire/publish_scan.h"
#include "spillway/v1/broker.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using spillway::wire::Buffer;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto frame = spillway::wire::ScanPublish(Buffer::Copy(bytes), {});
  if (!frame.ok()) {
    if (frame.error().field.empty() || frame.error().message.empty()) std::abort();
    return 0;
  }
  spillway::v1::PublishRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) std::abort();
  const auto& records = frame->records;
  if (request.publish().first_sequence() != frame->first_sequence) std::abort();
  if (records.count() != static_cast<uint32_t>(request.publish().records_size())) std::abort();
  const std::string_view fields = records.fields();
  const auto stored = spillway::wire::ScanStored(
      Buffer::Copy(fields), 0, static_cast<uint32_t>(fields.size()), records.count());
  if (!stored.ok() || stored->Cost() != records.Cost()) std::abort();
  return 0;
}
