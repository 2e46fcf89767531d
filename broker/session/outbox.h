// What waits to be written to a peer, joined while it waits.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "broker/base/types.h"
#include "broker/runtime/broker.h"
#include "broker/session/frame.h"
#include "broker/wire/delivery.h"

namespace spillway::session {

// Frames in order, of which only one is with the transport at a time. Meanwhile
// confirmations join into one, a later grant replaces an earlier one and rides
// on a confirmation, and deliveries join up to a size.
//
// Thread-safety: none.
class Outbox {
 public:
  explicit Outbox(size_t delivery_frame_bytes) : delivery_frame_bytes_(delivery_frame_bytes) {}

  void PushEncoded(std::string frame);
  void PushConfirm(std::span<const runtime::ConfirmRun> runs, Durability durability);
  void SetGrant(const runtime::GrantOut& grant) { grant_ = grant; }
  void PushDelivery(wire::Delivery delivery);

  bool empty() const { return next_ == items_.size() && !grant_; }
  // Bytes that wait, roughly.
  size_t bytes() const { return bytes_; }
  // Removes the next frame. REQUIRES: !empty().
  OutFrame Pop();
  void Clear();
  // What the popped deliveries cost, in all.
  const Credit& delivered() const { return delivered_; }

 private:
  struct Confirms {
    std::vector<runtime::ConfirmRun> runs;
    Durability durability = Durability::kMemory;
  };
  using Item = std::variant<std::string, Confirms, wire::Delivery>;

  Item* back() { return next_ == items_.size() ? nullptr : &items_.back(); }
  void Push(Item item, size_t bytes);
  std::string EncodeConfirm(const Confirms& confirms);

  const size_t delivery_frame_bytes_;
  std::vector<Item> items_;
  size_t next_ = 0;  // items before it are gone
  std::optional<runtime::GrantOut> grant_;
  size_t bytes_ = 0;
  size_t back_bytes_ = 0;  // of the last item
  Credit delivered_;
  ::spillway::v1::Confirm confirm_;  // reused
};

}  // namespace spillway::session
