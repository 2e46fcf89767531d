// Records as they came: encoded fields of a frame, back to back, with an index.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "broker/base/types.h"
#include "broker/wire/buffer.h"

namespace spillway::wire {

// Encoded `records` fields (number 15: tag, length, body; see broker.proto) that
// lie back to back in one buffer. PublishBatch, Delivery and the stored batch use
// the same field, so any run of records can be spliced into any of them.
//
// Thread-safety: immutable once built; copies share the bytes.
class Records {
 public:
  Records() = default;
  // `ends[i]` is where the field of record i ends, relative to `begin`, rising.
  // The lengths are canonical varints (the scanner refuses others), so that the
  // body of a record can be found from its field's extent.
  Records(Buffer buffer, uint32_t begin, std::shared_ptr<const uint32_t[]> ends, uint32_t count);

  uint32_t count() const { return count_; }
  // All fields together: what goes on the wire or to disk.
  std::string_view fields() const { return Fields(0, count_); }
  // The fields of records [first, first + n).
  std::string_view Fields(uint32_t first, uint32_t n) const;
  Slice FieldsSlice(uint32_t first, uint32_t n) const;
  // The encoded Record alone, without tag and length: what credit counts.
  std::string_view Body(uint32_t index) const;
  // Messages and body bytes of records [first, first + n). O(1).
  Credit Cost(uint32_t first, uint32_t n) const;
  Credit Cost() const { return Cost(0, count_); }
  // Body bytes of record `index`. O(1).
  uint32_t BodyBytes(uint32_t index) const;
  // How many records from `first` fit into `room`, at most `max`. O(log n).
  uint32_t FitWithin(uint32_t first, uint32_t max, const Credit& room) const;
  // What holding it costs in memory, index included.
  size_t footprint_bytes() const;
  // The index, for the store: count() ends, relative to the fields' begin.
  const uint32_t* ends() const { return ends_.get(); }

 private:
  Buffer buffer_;
  uint32_t begin_ = 0;
  uint32_t count_ = 0;
  // count_ ends, then count_ cumulative body bytes.
  std::shared_ptr<const uint32_t[]> ends_;
};

}  // namespace spillway::wire
