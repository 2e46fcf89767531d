#include "broker/credit/ledger.h"

#include <cassert>

namespace spillway::credit {

Ledger::AccountId Ledger::Open() {
  AccountId id;
  if (free_.empty()) {
    id = static_cast<AccountId>(accounts_.size());
    accounts_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  accounts_[id] = Account{.granted = {}, .received = {}, .open = true};
  ++open_;
  return id;
}

bool Ledger::Receive(AccountId id, const Credit& cost) {
  Account& account = accounts_[id];
  assert(account.open);
  if (!cost.Within(account.granted - account.received)) return false;
  account.received += cost;
  unspent_ -= cost;
  return true;
}

Credit Ledger::Grant(AccountId id, const Credit& more) {
  Account& account = accounts_[id];
  assert(account.open);
  account.granted += more;
  unspent_ += more;
  return account.granted;
}

bool Ledger::Return(AccountId id, const Credit& limit) {
  Account& account = accounts_[id];
  assert(account.open);
  if (!account.received.Within(limit) || !limit.Within(account.granted)) return false;
  unspent_ -= account.granted - limit;
  account.granted = limit;
  return true;
}

void Ledger::Close(AccountId id) {
  Account& account = accounts_[id];
  assert(account.open);
  unspent_ -= account.granted - account.received;
  account = Account{};
  free_.push_back(id);
  --open_;
}

}  // namespace spillway::credit
