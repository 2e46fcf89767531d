// Records for tests: made of bodies, and taken out of deliveries again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/base/types.h"
#include "broker/wire/batch.h"
#include "broker/wire/delivery.h"

namespace spillway::queue::model {

wire::Records MakeRecords(const std::vector<std::string>& bodies);

// One record as a consumer sees it.
struct Seen {
  Offset offset = 0;
  uint32_t attempt = 0;
  UnixMillis appended_at = 0;
  std::string body;
};

// What is in a delivery, in its order. Empty where runs, fields or cost contradict
// each other.
std::vector<Seen> Unpack(const wire::Delivery& delivery);

// Their offsets alone.
std::vector<Offset> OffsetsOf(const wire::Delivery& delivery);

}  // namespace spillway::queue::model
