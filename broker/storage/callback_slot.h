// What a store calls back, for the tests that wait for it.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

namespace spillway::storage::contract {

// A value that another thread sets. Shared with the callback, so that a callback
// that comes after the patience has ended meets no dead stack.
template <typename T>
class Slot {
 public:
  void Set(T value) {
    std::lock_guard lock(state_->mu);
    EXPECT_FALSE(state_->value.has_value()) << "called twice";
    state_->value = std::move(value);
  }
  bool ready() const {
    std::lock_guard lock(state_->mu);
    return state_->value.has_value();
  }
  T Take() {
    std::lock_guard lock(state_->mu);
    return std::move(*state_->value);
  }

 private:
  struct State {
    std::mutex mu;
    std::optional<T> value;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace spillway::storage::contract
