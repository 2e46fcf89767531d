#include "broker/session/codec.h"

namespace spillway::session {

void ToProto(const Credit& credit, pb::Credit* out) {
  out->set_messages(credit.messages);
  out->set_bytes(credit.bytes);
}

Credit FromProto(const pb::Credit& credit) {
  return {.messages = credit.messages(), .bytes = credit.bytes()};
}

void ToProto(const Error& error, pb::Error* out) {
  out->set_kind(static_cast<pb::ErrorKind>(error.kind));
  out->set_message(error.message);
  out->set_queue(error.queue);
  out->set_field(error.field);
  out->set_limit(error.limit);
  out->set_actual(error.actual);
  out->set_retry_after_ms(error.retry_after_ms);
  out->set_head_offset(error.head);
  out->set_tail_offset(error.tail);
}

void ToProto(const runtime::GrantOut& grant, pb::Grant* out) {
  out->set_epoch(grant.epoch);
  ToProto(grant.limit, out->mutable_limit());
  out->set_reason(grant.reason);
  out->set_reason_age_ms(grant.reason_age_ms);
  out->set_window_used_bytes(grant.window_used_bytes);
  out->set_window_bytes(grant.window_bytes);
}

void ToProto(const queue::Tuning& tuning, pb::QueueTuning* out) {
  out->set_window_messages(tuning.window_messages);
  out->set_window_bytes(tuning.window_bytes);
  out->set_max_message_bytes(tuning.max_message_bytes);
  out->set_durability(static_cast<pb::Durability>(tuning.durability));
  out->set_overflow(static_cast<pb::OverflowPolicy>(tuning.overflow));
  out->set_disk_quota_bytes(tuning.disk_quota_bytes);
  out->set_retention(static_cast<pb::Retention>(tuning.retention));
  out->set_retention_age_ms(tuning.retention_age_ms);
  out->set_retention_bytes(tuning.retention_bytes);
  out->set_ack_deadline_ms(tuning.ack_deadline_ms);
  out->set_max_attempts(tuning.max_attempts);
  out->set_backoff_initial_ms(tuning.backoff_initial_ms);
  out->set_backoff_max_ms(tuning.backoff_max_ms);
  out->set_max_in_flight_messages(tuning.max_in_flight_messages);
  out->set_max_in_flight_bytes(tuning.max_in_flight_bytes);
}

pb::Ping MakePing(uint64_t id, uint64_t epoch, const Credit& sent, const Credit& limit_seen) {
  pb::Ping ping;
  ping.set_id(id);
  ping.set_epoch(epoch);
  ToProto(sent, ping.mutable_sent());
  ToProto(limit_seen, ping.mutable_limit_seen());
  return ping;
}

pb::Pong MakePong(uint64_t id, uint64_t epoch, const Credit& received, const Credit& limit) {
  pb::Pong pong;
  pong.set_id(id);
  pong.set_epoch(epoch);
  ToProto(received, pong.mutable_received());
  ToProto(limit, pong.mutable_limit());
  return pong;
}

}  // namespace spillway::session
