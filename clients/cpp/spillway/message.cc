#include "clients/cpp/spillway/message.h"

#include "clients/cpp/spillway/internal/wire.h"

namespace spillway::client {
namespace {

// Calls `take(field number, value)` for each length-delimited field.
template <typename Take>
void ForEachField(std::string_view encoded, Take take) {
  const auto* p = reinterpret_cast<const uint8_t*>(encoded.data());
  const uint8_t* const end = p + encoded.size();
  while (p != nullptr && p != end) {
    uint64_t tag = 0;
    p = internal::GetVarint(p, end, &tag);
    if (p == nullptr) return;
    if ((tag & 7) != 2) {
      p = internal::SkipField(tag, p, end);
      continue;
    }
    uint64_t length = 0;
    p = internal::GetVarint(p, end, &length);
    if (p == nullptr || length > static_cast<uint64_t>(end - p)) return;
    take(tag >> 3, std::string_view(reinterpret_cast<const char*>(p), length));
    p += length;
  }
}

void FreeString(void* string) { delete static_cast<std::string*>(string); }

}  // namespace

void BatchBuilder::Add(const Message& message) {
  internal::AppendRecordField(message, &fields_);
  ends_.push_back(static_cast<uint32_t>(fields_.size()));
  cost_ += {1, EncodedBytes(message)};
}

EncodedBatch BatchBuilder::Build() {
  EncodedBatch batch;
  // The slice takes the string over, so that nothing is copied.
  auto* owned = new std::string(std::move(fields_));
  batch.fields_ = grpc::Slice(owned->data(), owned->size(), FreeString, owned);
  batch.ends_ = std::make_shared<const std::vector<uint32_t>>(std::move(ends_));
  batch.cost_ = cost_;
  fields_.clear();
  ends_.clear();
  cost_ = {};
  return batch;
}

RecordView::RecordView(uint64_t offset, uint64_t appended_at_unix_ms, uint32_t attempt,
                       std::string_view encoded)
    : offset_(offset),
      appended_at_unix_ms_(appended_at_unix_ms),
      attempt_(attempt),
      encoded_(encoded) {
  ForEachField(encoded_, [this](uint64_t number, std::string_view value) {
    if (number == 1) payload_ = value;
    if (number == 2) key_ = value;
  });
}

std::vector<Header> RecordView::headers() const {
  std::vector<Header> headers;
  ForEachField(encoded_, [&headers](uint64_t number, std::string_view value) {
    if (number != 3) return;
    Header header;
    ForEachField(value, [&header](uint64_t part, std::string_view text) {
      if (part == 1) header.name = text;
      if (part == 2) header.value = text;
    });
    headers.push_back(header);
  });
  return headers;
}

}  // namespace spillway::client
