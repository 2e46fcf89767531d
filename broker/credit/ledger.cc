#include "broker/credit/ledger.h"

#include <algorithm>
#include <cassert>
#include <limits>

namespace spillway::credit {
namespace {

uint64_t Less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

}  // namespace

const Ledger::Account& Ledger::Get(AccountId id) const {
  assert(id < accounts_.size() && accounts_[id].open);
  return accounts_[id];
}

Ledger::Account& Ledger::Get(AccountId id) {
  assert(id < accounts_.size() && accounts_[id].open);
  return accounts_[id];
}

Ledger::AccountId Ledger::Open() {
  AccountId id;
  if (free_.empty()) {
    id = static_cast<AccountId>(accounts_.size());
    accounts_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  accounts_[id] = Account{.open = true};
  return id;
}

bool Ledger::Receive(AccountId id, const Credit& cost) {
  Account& account = Get(id);
  if (!cost.Within(account.unspent())) return false;
  account.received += cost;
  total_.received += cost;
  return true;
}

Credit Ledger::Room(const Bound& bound) const {
  const Credit used = unspent();
  return {Less(Less(bound.window.messages, bound.held.messages), used.messages),
          Less(Less(bound.window.bytes, bound.held.bytes), used.bytes)};
}

Credit Ledger::Grant(AccountId id, const Credit& more, const Bound& bound) {
  Account& account = Get(id);
  const Credit room = Room(bound);
  assert(more.Within(room));
  // Totals never wrap: what does not fit below the largest total is not granted.
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  const Credit granted = {std::min({more.messages, room.messages, kMost - total_.granted.messages}),
                          std::min({more.bytes, room.bytes, kMost - total_.granted.bytes})};
  account.granted += granted;
  total_.granted += granted;
  return account.granted;
}

Ledger::ReturnVerdict Ledger::Return(AccountId id, const Credit& total) {
  Account& account = Get(id);
  if (!account.returned.Within(total)) return ReturnVerdict::kRegressed;
  const Credit more = total - account.returned;
  if (!more.Within(account.unspent())) return ReturnVerdict::kExceeded;
  account.returned = total;
  total_.returned += more;
  return ReturnVerdict::kOk;
}

void Ledger::Close(AccountId id) {
  Account& account = Get(id);
  total_.returned += account.unspent();
  account = Account{};
  free_.push_back(id);
}

bool Ledger::Balanced() const {
  Credit sum;
  for (const Account& account : accounts_) {
    if (!(account.received + account.returned).Within(account.granted)) return false;
    sum += account.unspent();
  }
  return sum == unspent();
}

}  // namespace spillway::credit
