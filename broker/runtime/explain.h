// Says why something waits: the reason, since when, what would end it, and the
// numbers behind it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "broker/base/types.h"
#include "broker/credit/policy.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::runtime {

namespace pb = ::spillway::v1;

pb::StallReason ToStall(credit::Reason reason);

// What would end it, in one sentence.
std::string EndsWhen(pb::StallReason reason);

void AddStall(std::string subject, pb::StallReason reason, MonoNanos age,
              std::initializer_list<std::pair<const char*, uint64_t>> numbers,
              pb::ExplainResponse* out);

inline void SetCredit(const Credit& credit, pb::Credit* out) {
  out->set_messages(credit.messages);
  out->set_bytes(credit.bytes);
}

}  // namespace spillway::runtime
