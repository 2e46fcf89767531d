#include "broker/queue/model/records.h"

#include <memory>
#include <utility>

#include "broker/wire/varint.h"

namespace spillway::queue::model {
namespace {

constexpr char kRecordsTag = 0x7a;  // field 15, length-delimited

}  // namespace

wire::Records MakeRecords(const std::vector<std::string>& bodies) {
  const size_t count = bodies.size();
  auto index = std::make_shared<uint32_t[]>(count * 2);
  std::string fields;
  uint32_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    char length[10];
    fields += kRecordsTag;
    fields.append(length, wire::PutVarint(length, bodies[i].size()));
    fields += bodies[i];
    total += static_cast<uint32_t>(bodies[i].size());
    index[i] = static_cast<uint32_t>(fields.size());
    index[count + i] = total;
  }
  return {wire::Buffer::Copy(fields), 0, std::move(index), static_cast<uint32_t>(count)};
}

std::vector<Seen> Unpack(const wire::Delivery& delivery) {
  std::vector<std::string> bodies;
  Credit cost;
  for (const wire::Slice& slice : delivery.fields) {
    const std::string_view view = slice.view();
    const auto* at = reinterpret_cast<const uint8_t*>(view.data());
    const auto* end = at + view.size();
    while (at < end) {
      uint64_t length = 0;
      if (*at != kRecordsTag) return {};
      at = wire::GetVarint(at + 1, end, &length);
      if (at == nullptr || length > static_cast<uint64_t>(end - at)) return {};
      bodies.emplace_back(reinterpret_cast<const char*>(at), length);
      cost += {1, length};
      at += length;
    }
  }
  std::vector<Seen> out;
  for (const wire::DeliveryRun& run : delivery.runs) {
    for (Offset offset = run.first; offset < run.first + run.count; ++offset) {
      if (out.size() == bodies.size()) return {};
      out.push_back({offset, run.attempt, run.appended_at, std::move(bodies[out.size()])});
    }
  }
  if (out.size() != bodies.size() || cost != delivery.cost) return {};
  return out;
}

std::vector<Offset> OffsetsOf(const wire::Delivery& delivery) {
  std::vector<Offset> out;
  for (const Seen& seen : Unpack(delivery)) out.push_back(seen.offset);
  return out;
}

}  // namespace spillway::queue::model
