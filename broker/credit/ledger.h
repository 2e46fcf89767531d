// The account of what a lane's producers may still send.
//
// The only place that counts it: gauges, reasons and grants are derived from
// here. Totals are cumulative within an epoch (see credit.proto).
#pragma once

#include <cstdint>
#include <vector>

#include "broker/base/types.h"

namespace spillway::credit {

// Invariants: received <= granted in every unit of every account; unspent() is the
// sum of granted - received over open accounts; what a closed account had not
// spent has left the sum exactly once.
// Thread-safety: none.
class Ledger {
 public:
  using AccountId = uint32_t;

  // A new account, with a total of 0.
  AccountId Open();
  // Takes a frame as a whole; false, and nothing taken, if it exceeds the limit.
  [[nodiscard]] bool Receive(AccountId id, const Credit& cost);
  // Grants more; returns the new limit.
  Credit Grant(AccountId id, const Credit& more);
  // The producer gives back down to `limit`; false, and nothing changed, if that
  // is less than it has sent or more than it was granted. Later grants count on
  // from there.
  [[nodiscard]] bool Return(AccountId id, const Credit& limit);
  // Ends the account; its unspent credit is free again.
  void Close(AccountId id);

  Credit granted(AccountId id) const { return accounts_[id].granted; }
  Credit received(AccountId id) const { return accounts_[id].received; }
  Credit outstanding(AccountId id) const { return accounts_[id].granted - accounts_[id].received; }
  // What open accounts may still send, together. O(1).
  const Credit& unspent() const { return unspent_; }
  size_t open_accounts() const { return open_; }

 private:
  struct Account {
    Credit granted;
    Credit received;
    bool open = false;
  };
  std::vector<Account> accounts_;
  std::vector<AccountId> free_;
  Credit unspent_;
  size_t open_ = 0;
};

}  // namespace spillway::credit
