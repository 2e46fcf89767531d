// The runtime's values as protobuf messages.
#pragma once

#include "broker/base/error.h"
#include "broker/queue/tuning.h"
#include "broker/runtime/broker.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::session {

namespace pb = ::spillway::v1;

void ToProto(const Credit& credit, pb::Credit* out);
void ToProto(const Error& error, pb::Error* out);
void ToProto(const runtime::GrantOut& grant, pb::Grant* out);
void ToProto(const queue::Tuning& tuning, pb::QueueTuning* out);
Credit FromProto(const pb::Credit& credit);

// A Ping or Pong of ours.
pb::Ping MakePing(uint64_t id, uint64_t epoch, const Credit& sent, const Credit& limit_seen);
pb::Pong MakePong(uint64_t id, uint64_t epoch, const Credit& received, const Credit& limit);

}  // namespace spillway::session
