#include "broker/runtime/tuning_codec.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "broker/base/registry.gen.h"

namespace spillway::runtime {
namespace {

using ::google::protobuf::FieldDescriptor;
using ::spillway::v1::QueueTuning;

// Reads and writes QueueTuning by field, so that the registry's table is the only
// list of defaults and ranges.
uint64_t Get(const QueueTuning& tuning, const FieldDescriptor& field) {
  const auto& r = *tuning.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_ENUM:
      return static_cast<uint64_t>(r.GetEnumValue(tuning, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return r.GetUInt32(tuning, &field);
    default:
      return r.GetUInt64(tuning, &field);
  }
}

void Set(QueueTuning& tuning, const FieldDescriptor& field, uint64_t value) {
  const auto& r = *tuning.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_ENUM:
      return r.SetEnumValue(&tuning, &field, static_cast<int>(value));
    case FieldDescriptor::CPPTYPE_UINT32:
      return r.SetUInt32(&tuning, &field, static_cast<uint32_t>(value));
    default:
      return r.SetUInt64(&tuning, &field, value);
  }
}

const FieldDescriptor& Field(std::string_view name) {
  return *QueueTuning::descriptor()->FindFieldByName(std::string(name));
}

queue::Tuning FromProto(const QueueTuning& t) {
  return {
      .window_messages = t.window_messages(),
      .window_bytes = t.window_bytes(),
      .max_message_bytes = t.max_message_bytes(),
      .durability = static_cast<Durability>(t.durability()),
      .overflow = static_cast<queue::Overflow>(t.overflow()),
      .disk_quota_bytes = t.disk_quota_bytes(),
      .retention = static_cast<queue::Retention>(t.retention()),
      .retention_age_ms = t.retention_age_ms(),
      .retention_bytes = t.retention_bytes(),
      .ack_deadline_ms = t.ack_deadline_ms(),
      .max_attempts = t.max_attempts(),
      .backoff_initial_ms = t.backoff_initial_ms(),
      .backoff_max_ms = t.backoff_max_ms(),
      .max_in_flight_messages = t.max_in_flight_messages(),
      .max_in_flight_bytes = t.max_in_flight_bytes(),
  };
}

}  // namespace

queue::Tuning DefaultTuning() {
  QueueTuning tuning;
  for (const auto& tunable : registry::kTunables) {
    Set(tuning, Field(tunable.name), tunable.default_value);
  }
  return FromProto(tuning);
}

QueueTuning ToProto(const queue::Tuning& t) {
  QueueTuning out;
  out.set_window_messages(t.window_messages);
  out.set_window_bytes(t.window_bytes);
  out.set_max_message_bytes(t.max_message_bytes);
  out.set_durability(static_cast<::spillway::v1::Durability>(t.durability));
  out.set_overflow(static_cast<::spillway::v1::OverflowPolicy>(t.overflow));
  out.set_disk_quota_bytes(t.disk_quota_bytes);
  out.set_retention(static_cast<::spillway::v1::Retention>(t.retention));
  out.set_retention_age_ms(t.retention_age_ms);
  out.set_retention_bytes(t.retention_bytes);
  out.set_ack_deadline_ms(t.ack_deadline_ms);
  out.set_max_attempts(t.max_attempts);
  out.set_backoff_initial_ms(t.backoff_initial_ms);
  out.set_backoff_max_ms(t.backoff_max_ms);
  out.set_max_in_flight_messages(t.max_in_flight_messages);
  out.set_max_in_flight_bytes(t.max_in_flight_bytes);
  return out;
}

Result<queue::Tuning> ApplyTuning(const queue::Tuning& base, const QueueTuning& request, bool fit) {
  QueueTuning merged = ToProto(base);
  const auto& reflection = *request.GetReflection();
  for (const auto& tunable : registry::kTunables) {
    const FieldDescriptor& field = Field(tunable.name);
    if (!reflection.HasField(request, &field)) continue;
    const uint64_t value = Get(request, field);
    const std::string name(tunable.name);
    if (value < tunable.min || value > tunable.max) {
      Error error = InvalidArgument(absl::StrCat("tuning.", name),
                                    absl::StrCat(name, " must be ", tunable.min, " to ",
                                                 tunable.max, tunable.unit.empty() ? "" : " ",
                                                 std::string(tunable.unit), "; it is ", value));
      error.limit = value < tunable.min ? tunable.min : tunable.max;
      error.actual = value;
      return error;
    }
    Set(merged, field, value);
  }
  for (const auto& relation : registry::kRelations) {
    const FieldDescriptor& low = Field(relation.low);
    const FieldDescriptor& high = Field(relation.high);
    if (Get(merged, low) <= Get(merged, high)) continue;
    if (fit && !reflection.HasField(request, &low)) {
      Set(merged, low, Get(merged, high));
      continue;
    }
    if (fit && !reflection.HasField(request, &high)) {
      Set(merged, high, Get(merged, low));
      continue;
    }
    Error error = InvalidArgument(
        absl::StrCat("tuning.", low.name()),
        absl::StrCat(low.name(), " (", Get(merged, low), ") must not exceed ", high.name(), " (",
                     Get(merged, high), "): ", std::string(relation.doc)));
    error.limit = Get(merged, high);
    error.actual = Get(merged, low);
    return error;
  }
  return FromProto(merged);
}

}  // namespace spillway::runtime
