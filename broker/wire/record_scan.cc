#include "broker/wire/record_scan.h"

#include <string>
#include <string_view>

#include "broker/wire/varint.h"

namespace spillway::wire {
namespace {

// Tags of record.proto (number << 3 | wire type).
constexpr uint32_t kPayload = 0x0a, kKey = 0x12, kHeader = 0x1a;
constexpr uint32_t kHeaderName = 0x0a, kHeaderValue = 0x12;

// Why a check failed; kept small, so that the check itself stays cheap.
enum class Why : uint8_t {
  kFine,
  kMalformed,
  kWireType,
  kKeyTooLong,
  kTooManyHeaders,
  kHeadersTooLong,
  kNameMissing,
  kNameTooLong,
  kNameNotUtf8,
};

struct Verdict {
  Why why = Why::kFine;
  uint64_t actual = 0;
  uint32_t header = 0;
};

// Reads the length of a field and leaves `p` at its first byte.
const uint8_t* ReadLength(const uint8_t* p, const uint8_t* end, uint32_t* length) {
  p = GetCanonical32(p, end, length);
  if (p == nullptr || *length > static_cast<uint64_t>(end - p)) return nullptr;
  return p;
}

Why CheckHeader(const uint8_t* p, const uint8_t* end, const RecordLimits& limits,
                uint64_t* actual) {
  std::string_view name;
  while (p < end) {
    uint32_t tag = 0, length = 0;
    p = GetCanonical32(p, end, &tag);
    if (p == nullptr) return Why::kMalformed;
    if (tag == kHeaderName || tag == kHeaderValue) {
      p = ReadLength(p, end, &length);
      if (p == nullptr) return Why::kMalformed;
      if (tag == kHeaderName) {
        name = {reinterpret_cast<const char*>(p), length};
        if (!IsUtf8(name)) return Why::kNameNotUtf8;
      }
      p += length;
      continue;
    }
    if (tag >> 3 == 1 || tag >> 3 == 2) return Why::kWireType;
    p = SkipUnknown(tag, p, end);
    if (p == nullptr) return Why::kMalformed;
  }
  *actual = name.size();
  if (name.empty()) return Why::kNameMissing;
  if (name.size() > limits.max_header_name_bytes) return Why::kNameTooLong;
  return Why::kFine;
}

Verdict Check(const uint8_t* p, const uint8_t* end, const RecordLimits& limits) {
  uint32_t headers = 0;
  uint64_t headers_bytes = 0;
  while (p < end) {
    uint32_t tag = 0, length = 0;
    p = GetCanonical32(p, end, &tag);
    if (p == nullptr) return {.why = Why::kMalformed};
    if (tag == kPayload) [[likely]] {
      p = ReadLength(p, end, &length);
      if (p == nullptr) return {.why = Why::kMalformed};
      p += length;
    } else if (tag == kKey) {
      p = ReadLength(p, end, &length);
      if (p == nullptr) return {.why = Why::kMalformed};
      if (length > limits.max_key_bytes) return {.why = Why::kKeyTooLong, .actual = length};
      p += length;
    } else if (tag == kHeader) {
      p = ReadLength(p, end, &length);
      if (p == nullptr) return {.why = Why::kMalformed, .header = headers};
      Verdict verdict{.header = headers};
      verdict.why = CheckHeader(p, p + length, limits, &verdict.actual);
      if (verdict.why != Why::kFine) return verdict;
      headers_bytes += length;
      if (++headers > limits.max_headers) {
        return {.why = Why::kTooManyHeaders, .actual = headers};
      }
      if (headers_bytes > limits.max_headers_bytes) {
        return {.why = Why::kHeadersTooLong, .actual = headers_bytes};
      }
      p += length;
    } else {
      if (tag >> 3 <= 3) return {.why = tag >> 3 == 0 ? Why::kMalformed : Why::kWireType};
      p = SkipUnknown(tag, p, end);
      if (p == nullptr) return {.why = Why::kMalformed};
    }
  }
  return {};
}

}  // namespace

const uint8_t* SkipUnknown(uint32_t tag, const uint8_t* p, const uint8_t* end) {
  if (tag >> 3 == 0) return nullptr;
  uint64_t value = 0;
  uint32_t length = 0;
  switch (tag & 7) {
    case 0:
      return GetVarint(p, end, &value);
    case 1:
      return end - p < 8 ? nullptr : p + 8;
    case 2:
      p = ReadLength(p, end, &length);
      return p == nullptr ? nullptr : p + length;
    case 5:
      return end - p < 4 ? nullptr : p + 4;
    default:
      return nullptr;
  }
}

bool CheckRecord(const uint8_t* p, const uint8_t* end, const RecordLimits& limits) {
  return Check(p, end, limits).why == Why::kFine;
}

RecordDefect ExplainRecord(const uint8_t* p, const uint8_t* end, const RecordLimits& limits) {
  const Verdict verdict = Check(p, end, limits);
  const std::string header = "headers[" + std::to_string(verdict.header) + "]";
  switch (verdict.why) {
    case Why::kFine:
      return {};
    case Why::kMalformed:
      return {.field = "", .message = "is not an encoded Record"};
    case Why::kWireType:
      return {.field = "", .message = "has a known field of another wire type"};
    case Why::kKeyTooLong:
      return {.field = "key",
              .message = "is longer than allowed",
              .limit = limits.max_key_bytes,
              .actual = verdict.actual};
    case Why::kTooManyHeaders:
      return {.field = "headers",
              .message = "has more headers than allowed",
              .limit = limits.max_headers,
              .actual = verdict.actual};
    case Why::kHeadersTooLong:
      return {.field = "headers",
              .message = "take more bytes than allowed",
              .limit = limits.max_headers_bytes,
              .actual = verdict.actual};
    case Why::kNameMissing:
      return {.field = header + ".name", .message = "must not be empty"};
    case Why::kNameTooLong:
      return {.field = header + ".name",
              .message = "is longer than allowed",
              .limit = limits.max_header_name_bytes,
              .actual = verdict.actual};
    case Why::kNameNotUtf8:
      return {.field = header + ".name", .message = "is not valid UTF-8"};
  }
  return {};
}

}  // namespace spillway::wire
