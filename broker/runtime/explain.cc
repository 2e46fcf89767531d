#include "broker/runtime/explain.h"

#include <algorithm>

namespace spillway::runtime {

pb::StallReason ToStall(credit::Reason reason) {
  // The enums share their numbers up to FULL_REJECT.
  return static_cast<pb::StallReason>(reason);
}

std::string EndsWhen(pb::StallReason reason) {
  switch (reason) {
    case pb::STALL_REASON_WINDOW_FULL:
      return "consumers settle records, or window_bytes or window_messages is raised";
    case pb::STALL_REASON_MEMORY_BUDGET:
      return "any queue drains, or the broker's memory budget is raised";
    case pb::STALL_REASON_DISK_QUOTA:
      return "consumers settle records, retention removes some, or disk_quota_bytes is raised";
    case pb::STALL_REASON_DISK_SLOW:
      return "the disk catches up with what is on its way to it, where the queue spills at the "
             "rate that leaves room for other queues";
    case pb::STALL_REASON_DISK_LOW:
      return "space is freed on the disk of the store";
    case pb::STALL_REASON_FAIR_SHARE:
      return "producers that have waited longer get their share";
    case pb::STALL_REASON_OPERATOR_LIMIT:
      return "an operator raises the limit";
    case pb::STALL_REASON_DRAINING:
      return "the client connects to a broker that is not draining";
    case pb::STALL_REASON_STORE_FAILED:
      return "the broker is restarted with a store that works";
    case pb::STALL_REASON_FULL_REJECT:
      return "consumers settle records; until then clients fail a publish at once";
    case pb::STALL_REASON_NO_CONSUMER:
      return "a consumer joins the group";
    case pb::STALL_REASON_NO_CREDIT:
      return "the consumer settles, and grants more credit";
    case pb::STALL_REASON_IN_FLIGHT_CLAMP:
      return "the consumer settles, or max_in_flight_messages or _bytes is raised";
    case pb::STALL_REASON_EMPTY:
      return "a producer publishes";
    case pb::STALL_REASON_RETRY_DELAY:
      return "the retry delay passes";
    case pb::STALL_REASON_PARKED:
      return "an operator releases what is parked, or a producer publishes";
    case pb::STALL_REASON_READING_DISK:
      return "the read from the disk finishes";
    case pb::STALL_REASON_SLOW_READER:
      return "the client reads its stream";
    case pb::STALL_REASON_RATE_LIMIT:
      return "the reader's rate allows the next record";
    case pb::STALL_REASON_RECORD_LARGER_THAN_CREDIT:
      return "the consumer grants enough bytes for the next record";
    default:
      return "";
  }
}

void AddStall(std::string subject, pb::StallReason reason, MonoNanos age,
              std::initializer_list<std::pair<const char*, uint64_t>> numbers,
              pb::ExplainResponse* out) {
  pb::Stall* stall = out->add_stalls();
  stall->set_subject(std::move(subject));
  stall->set_reason(reason);
  stall->set_age_ms(static_cast<uint64_t>(std::max<MonoNanos>(age, 0) / kNanosPerMilli));
  stall->set_ends_when(EndsWhen(reason));
  for (const auto& [name, value] : numbers) (*stall->mutable_numbers())[name] = value;
}

}  // namespace spillway::runtime
