// The account of what a lane's producers may still send.
//
// The only place that counts it: gauges, reasons and grants are derived from
// here. All totals are cumulative and only rise, those of an account within its
// epoch, those of the ledger for its life (see credit.proto):
//
//   granted    by the lane, as told to the producer: the limit on the wire
//   received   of what was granted
//   returned   unsent: by the producer (Demand.returned), or by the end of its stream
//   unspent  = granted - received - returned; 0 at rest (I13)
//
// A return is a total beside the limit rather than a lower limit, so that a grant
// that crosses a return on the wire means the same to both sides (ADR 0008).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "broker/base/types.h"

namespace spillway::credit {

// What bounds grants (I11): unspent + held <= window, in every unit.
struct Bound {
  Credit window;
  // Resident, on its way to the disk, and whatever else takes the window's place.
  Credit held;
};

// Invariants: received + returned <= granted in every unit of every account;
// unspent() is the sum over open accounts; what a closed account had not spent has
// left the sum exactly once; Grant leaves unspent() + held within the window, or
// does not raise it.
// Units: messages, and bytes of encoded records.
// Thread-safety: none.
class Ledger {
 public:
  // Dense: the ids of closed accounts are used again.
  using AccountId = uint32_t;
  enum class ReturnVerdict : uint8_t {
    kOk,
    kRegressed,  // less than was returned before
    kExceeded,   // more than is unspent
  };

  // A new account, with totals of 0. O(1), as are all but Balanced.
  AccountId Open();
  // Takes a frame as a whole; false, and nothing taken, if it exceeds the limit.
  // outstanding() then says by how much.
  [[nodiscard]] bool Receive(AccountId id, const Credit& cost);
  // Grants `more`, or as much of it as `bound` lets be granted, whatever the caller
  // decided; returns the new limit. REQUIRES: `more` is within the bound (asserted;
  // clamped where assertions are off).
  Credit Grant(AccountId id, const Credit& more, const Bound& bound);
  // The producer has given back `total` since its epoch began. On an error nothing
  // changes.
  [[nodiscard]] ReturnVerdict Return(AccountId id, const Credit& total);
  // Ends the account; its unspent credit is returned.
  void Close(AccountId id);

  // What may be granted now.
  Credit Room(const Bound& bound) const;

  // REQUIRES (of each): the account is open.
  Credit granted(AccountId id) const { return Get(id).granted; }
  Credit received(AccountId id) const { return Get(id).received; }
  Credit returned(AccountId id) const { return Get(id).returned; }
  // What the producer may still send.
  Credit outstanding(AccountId id) const { return Get(id).unspent(); }

  // What all open accounts may still send.
  Credit unspent() const { return total_.unspent(); }
  // Since the ledger began, closed accounts included.
  Credit granted_total() const { return total_.granted; }
  Credit received_total() const { return total_.received; }
  Credit returned_total() const { return total_.returned; }
  size_t open_accounts() const { return accounts_.size() - free_.size(); }
  // Whether the totals are those of the accounts. O(accounts); for tests and Explain.
  bool Balanced() const;

 private:
  struct Account {
    Credit granted;
    Credit received;
    Credit returned;
    bool open = false;
    Credit unspent() const { return granted - received - returned; }
  };
  const Account& Get(AccountId id) const;
  Account& Get(AccountId id);

  std::vector<Account> accounts_;
  std::vector<AccountId> free_;
  Account total_;
};

}  // namespace spillway::credit
