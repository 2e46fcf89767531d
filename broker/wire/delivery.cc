#include "broker/wire/delivery.h"

#include "broker/wire/varint.h"

namespace spillway::wire {
namespace {

// Tags of broker.proto (number << 3 | wire type); delivery_test compares with
// protobuf's own encoding.
constexpr char kResponseDelivery = 0x12;
constexpr char kDeliveryRuns = 0x0a;
constexpr char kDeliveryPartition = 0x10;
constexpr char kRunFirst = 0x08, kRunCount = 0x10, kRunAppendedAt = 0x18, kRunAttempt = 0x20;

uint32_t FieldSize(uint64_t value) { return value == 0 ? 0 : 1 + VarintSize(value); }

char* PutField(char* out, char tag, uint64_t value) {
  if (value == 0) return out;
  *out++ = tag;
  return PutVarint(out, value);
}

uint32_t RunSize(const DeliveryRun& run) {
  return FieldSize(run.first) + FieldSize(run.count) + FieldSize(run.appended_at) +
         FieldSize(run.attempt);
}

}  // namespace

std::string EncodeDeliveryHeader(const Delivery& delivery) {
  uint64_t head = FieldSize(delivery.partition);
  for (const DeliveryRun& run : delivery.runs) {
    const uint32_t size = RunSize(run);
    head += 1 + VarintSize(size) + size;
  }
  uint64_t body = head;
  for (const Slice& slice : delivery.fields) body += slice.length;

  std::string header;
  header.resize(1 + VarintSize(body) + head);
  char* out = header.data();
  *out++ = kResponseDelivery;
  out = PutVarint(out, body);
  for (const DeliveryRun& run : delivery.runs) {
    *out++ = kDeliveryRuns;
    out = PutVarint(out, RunSize(run));
    out = PutField(out, kRunFirst, run.first);
    out = PutField(out, kRunCount, run.count);
    out = PutField(out, kRunAppendedAt, run.appended_at);
    out = PutField(out, kRunAttempt, run.attempt);
  }
  PutField(out, kDeliveryPartition, delivery.partition);
  return header;
}

}  // namespace spillway::wire
