// Records, received.
#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <string_view>
#include <vector>

#include "clients/cpp/spillway/credit.h"
#include "clients/cpp/spillway/message.h"
#include "clients/cpp/spillway/options.h"
#include "clients/cpp/spillway/range.h"

namespace spillway::client {

namespace internal {
class ConsumerSession;
struct FrameIndex;
}  // namespace internal

// What becomes of a record; numbers of spillway.v1.SettleAction.
enum class SettleAction : uint8_t { kAck = 1, kRetry = 2, kPark = 3, kSkip = 4 };

struct SettleOptions {
  // With kRetry: no sooner than this. 0: the queue's backoff.
  milliseconds delay{0};
  // With kRetry and kPark: why, for people. At most 1,024 bytes.
  std::string_view reason = {};
};

// Records of one frame. Settle them here, whole or in part; what is left when the
// batch is destroyed is retried by the broker, unless Release was called: a
// dropped batch never holds records silently. Batches of a reader need no settle.
//
// Movable; not thread-safe, but may be handed to any thread, and may outlive its
// consumer (settling then has no effect).
class DeliveryBatch {
 public:
  DeliveryBatch();
  ~DeliveryBatch();
  DeliveryBatch(DeliveryBatch&&) noexcept;
  DeliveryBatch& operator=(DeliveryBatch&&) noexcept;

  uint32_t size() const;
  bool empty() const { return size() == 0; }
  Credit cost() const;
  RecordView operator[](uint32_t index) const;
  uint64_t first_offset() const;
  // In order of the records.
  std::vector<OffsetRange> ranges() const;

  void Ack() { Settle(SettleAction::kAck); }
  void Ack(uint32_t first, uint32_t count) { Settle(SettleAction::kAck, first, count); }
  void Settle(SettleAction action, const SettleOptions& options = {});
  // Records [first, first + count).
  void Settle(SettleAction action, uint32_t first, uint32_t count,
              const SettleOptions& options = {});
  // The deadline of what is unsettled starts anew.
  void Extend();
  // Keeps what is unsettled in flight after this batch is gone; settle it with
  // Consumer::Settle.
  void Release() { released_ = true; }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = RecordView;
    using difference_type = std::ptrdiff_t;
    Iterator(const DeliveryBatch* batch, uint32_t index) : batch_(batch), index_(index) {}
    RecordView operator*() const { return (*batch_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator!=(const Iterator& o) const { return index_ != o.index_; }
    bool operator==(const Iterator& o) const { return index_ == o.index_; }

   private:
    const DeliveryBatch* batch_;
    uint32_t index_;
  };
  Iterator begin() const { return {this, 0}; }
  Iterator end() const { return {this, size()}; }

 private:
  friend class internal::ConsumerSession;
  void Finish();

  std::shared_ptr<internal::ConsumerSession> session_;
  std::shared_ptr<const internal::FrameIndex> index_;
  grpc::Slice frame_;
  uint64_t id_ = 0;
  uint64_t epoch_ = 0;
  bool released_ = false;
  mutable uint32_t run_ = 0;  // of the record looked at last
};

}  // namespace spillway::client
