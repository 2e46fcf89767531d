// What a publish comes to.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "clients/cpp/spillway/error.h"

namespace spillway::client {

// The numbers of spillway.v1.Durability: what a confirmation means.
enum class Durability : uint8_t { kUnspecified = 0, kMemory = 1, kPersisted = 2, kSynced = 3 };
std::string_view Name(Durability durability);

// A record is kept, at `durability`.
struct Published {
  uint64_t offset = 0;
  Durability durability = Durability::kUnspecified;
  // It had been accepted earlier, before a reconnect; `offset` is its original one.
  bool duplicate = false;
  // With duplicate: so long ago that the offset is no longer known.
  bool offset_unknown = false;
};

// Called exactly once for each record, on the client's I/O thread: do not block
// in it.
using PublishCallback = std::function<void(const Result<Published>&)>;

// Called on the I/O thread for records [first, first + count) of a batch; the
// calls for one batch add up to its size. On success their offsets are
// consecutive from `offset` on.
using BatchCallback =
    std::function<void(uint32_t first, uint32_t count, const Result<Published>& first_record)>;

}  // namespace spillway::client
