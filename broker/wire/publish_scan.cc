#include "broker/wire/publish_scan.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "broker/wire/frame.h"
#include "broker/wire/record_scan.h"
#include "broker/wire/varint.h"

namespace spillway::wire {
namespace {

// Tags of broker.proto (number << 3 | wire type); publish_scan_test compares with
// protobuf's own encoding.
constexpr uint32_t kRequestPublish = 0x12, kPublishNumber = 2;
constexpr uint32_t kLastFrameNumber = 6;  // close
constexpr uint32_t kFirstSequence = 0x08, kPartition = 0x10, kRecords = 0x7a;

const uint8_t* Bytes(const char* p) { return reinterpret_cast<const uint8_t*>(p); }

Error Malformed(const std::string& field) {
  return InvalidArgument(field, field + " is malformed");
}

// Where the records of a batch lie, gathered while the frame is walked. Kept for
// the thread, so that a frame costs one allocation: that of the final index.
struct Scratch {
  std::vector<uint32_t> begins;  // of the fields, in the frame
  std::vector<uint32_t> ends;
  std::vector<uint32_t> totals;  // cumulative body bytes
  void Clear() {
    begins.clear();
    ends.clear();
    totals.clear();
  }
};

Scratch& ThreadScratch() {
  thread_local Scratch scratch;
  scratch.Clear();
  return scratch;
}

std::shared_ptr<const uint32_t[]> MakeIndex(const Scratch& scratch, bool contiguous) {
  const size_t n = scratch.ends.size();
  auto index = std::make_shared_for_overwrite<uint32_t[]>(2 * n);
  uint32_t at = 0;
  for (size_t i = 0; i < n; ++i) {
    at = contiguous ? scratch.ends[i] - scratch.begins[0]
                    : at + (scratch.ends[i] - scratch.begins[i]);
    index[i] = at;
  }
  std::memcpy(index.get() + n, scratch.totals.data(), n * sizeof(uint32_t));
  return index;
}

// The records of the scratch over `frame`; over a copy without what lies between
// them if they are not back to back.
Records MakeRecords(const Buffer& frame, const Scratch& scratch) {
  const auto n = static_cast<uint32_t>(scratch.ends.size());
  if (n == 0) return {};
  bool contiguous = true;
  for (uint32_t i = 1; i < n && contiguous; ++i) {
    contiguous = scratch.begins[i] == scratch.ends[i - 1];
  }
  auto index = MakeIndex(scratch, contiguous);
  if (contiguous) return {frame, scratch.begins[0], std::move(index), n};
  Buffer compact = Buffer::Allocate(index[n - 1]);
  char* out = compact.mutable_data();
  for (uint32_t i = 0; i < n; ++i) {
    const uint32_t size = scratch.ends[i] - scratch.begins[i];
    std::memcpy(out, frame.data() + scratch.begins[i], size);
    out += size;
  }
  return {std::move(compact), 0, std::move(index), n};
}

Error RecordError(size_t index, const uint8_t* p, const uint8_t* end, const RecordLimits& limits) {
  const RecordDefect defect = ExplainRecord(p, end, limits);
  std::string field = "publish.records[" + std::to_string(index) + "]";
  if (!defect.field.empty()) field += "." + defect.field;
  std::string message = field + " " + defect.message;
  if (defect.limit == 0) return InvalidArgument(std::move(field), std::move(message));
  return TooLarge(std::move(field), std::move(message), defect.limit, defect.actual);
}

}  // namespace

bool IsPublish(std::string_view frame) {
  return !frame.empty() && static_cast<uint8_t>(frame[0]) == kRequestPublish;
}

Result<PublishFrame> ScanPublish(const Buffer& frame, const RecordLimits& limits) {
  const Result<FrameField> batch = FindFrame(frame.view(), kLastFrameNumber);
  if (!batch) return batch.error();
  if (batch.value().number != kPublishNumber) {
    return InvalidArgument("frame", "frame is not a publish");
  }
  const std::string_view body = batch.value().body;
  const uint8_t* const start = Bytes(frame.data());
  const uint8_t* p = Bytes(body.data());
  const uint8_t* const end = p + body.size();

  PublishFrame result;
  Scratch& scratch = ThreadScratch();
  uint32_t total = 0;
  while (p < end) {
    const uint8_t* const field = p;
    uint32_t tag = 0, length = 0;
    p = GetCanonical32(p, end, &tag);
    if (p == nullptr) return Malformed("publish");
    if (tag == kRecords) [[likely]] {
      p = GetCanonical32(p, end, &length);
      const size_t index = scratch.ends.size();
      if (p == nullptr || length > static_cast<uint64_t>(end - p)) {
        return Malformed("publish.records[" + std::to_string(index) + "]");
      }
      if (index == limits.max_batch_records) {
        return TooLarge("publish.records", "publish.records has more records than allowed",
                        limits.max_batch_records, index + 1);
      }
      if (!CheckRecord(p, p + length, limits)) return RecordError(index, p, p + length, limits);
      p += length;
      total += length;
      scratch.begins.push_back(static_cast<uint32_t>(field - start));
      scratch.ends.push_back(static_cast<uint32_t>(p - start));
      scratch.totals.push_back(total);
    } else if (tag == kFirstSequence) {
      p = GetVarint(p, end, &result.first_sequence);
      if (p == nullptr) return Malformed("publish.first_sequence");
    } else if (tag == kPartition) {
      uint64_t value = 0;
      p = GetVarint(p, end, &value);
      if (p == nullptr) return Malformed("publish.partition");
      result.partition = static_cast<uint32_t>(value);
    } else {
      const uint32_t number = tag >> 3;
      if (number == 1 || number == 2 || number == 15) return Malformed("publish");
      p = SkipUnknown(tag, p, end);
      if (p == nullptr) return Malformed("publish");
    }
  }
  if (scratch.ends.empty()) {
    return InvalidArgument("publish.records", "publish.records must not be empty");
  }
  result.records = MakeRecords(frame, scratch);
  return result;
}

Result<Records> ScanStored(const Buffer& buffer, uint32_t begin, uint32_t length, uint32_t count) {
  const Error corrupt{.kind = ErrorKind::kCorrupt, .message = "a stored batch is malformed"};
  if (uint64_t{begin} + length > buffer.size()) return corrupt;
  const uint8_t* const start = Bytes(buffer.data()) + begin;
  const uint8_t* const end = start + length;
  // Each record takes a tag and a length at least; bounds the index before it is
  // allocated.
  if (uint64_t{count} * 2 > length) return corrupt;
  auto index = std::make_shared_for_overwrite<uint32_t[]>(size_t{count} * 2);
  const uint8_t* p = start;
  uint32_t total = 0;
  for (uint32_t i = 0; i < count; ++i) {
    uint32_t size = 0;
    if (p == end || *p != kRecords) return corrupt;
    p = GetCanonical32(p + 1, end, &size);
    if (p == nullptr || size > static_cast<uint64_t>(end - p)) return corrupt;
    p += size;
    total += size;
    index[i] = static_cast<uint32_t>(p - start);
    index[count + i] = total;
  }
  if (p != end) return corrupt;
  return Records(buffer, begin, std::move(index), count);
}

}  // namespace spillway::wire
