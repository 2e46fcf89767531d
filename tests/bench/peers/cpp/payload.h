// What the load sends, and what it notes of what came: as tests/bench/peers/payload.go
// and ledger.go do.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace spillway::bench {

// A payload begins with its number and the time at which it was to be sent, in
// nanoseconds; the rest is random in its first half and zero in its second.
inline constexpr int64_t kPayloadHeader = 16;

struct PayloadHeader {
  int64_t number = 0;
  int64_t intended = 0;
};

inline PayloadHeader HeaderOf(std::string_view payload) {
  PayloadHeader out;
  std::memcpy(&out.number, payload.data(), sizeof out.number);
  std::memcpy(&out.intended, payload.data() + sizeof out.number, sizeof out.intended);
  return out;
}

// Payloads in a ring of twice the window, because a client may hold on to what it was
// given until it is acknowledged, and acknowledgements may come a window out of order.
class Payloads {
 public:
  Payloads(int64_t size, int64_t window)
      : size_(size), slots_(2 * window), arena_(static_cast<size_t>(size * slots_), '\0') {
    std::mt19937_64 random(1);  // NOLINT(bugprone-random-generator-seed): always the same
    for (int64_t slot = 0; slot < slots_; ++slot) {
      char* at = arena_.data() + slot * size;
      for (int64_t i = 0; i < size / 2; ++i) at[i] = static_cast<char>(random());
    }
  }

  // Overwrites the payload of twice a window before.
  std::string_view At(int64_t number, int64_t intended) {
    char* at = arena_.data() + number % slots_ * size_;
    std::memcpy(at, &number, sizeof number);
    std::memcpy(at + sizeof number, &intended, sizeof intended);
    return {at, static_cast<size_t>(size_)};
  }

 private:
  int64_t size_;
  int64_t slots_;
  std::string arena_;
};

// Notes which messages were received. Not thread-safe.
class Ledger {
 public:
  explicit Ledger(int64_t size) : size_(size) {}

  // Whether it is one that did not come before; then what its head says is in `header`.
  bool Take(std::string_view payload, PayloadHeader& header) {
    if (static_cast<int64_t>(payload.size()) != size_) return Foreign();
    header = HeaderOf(payload);
    if (header.number < 0 || header.number > kMostNumber) return Foreign();
    const auto number = static_cast<size_t>(header.number);
    if (number >= seen_.size()) seen_.resize(2 * number + kRoom);
    if (seen_[number]) {
      ++doubled_;
      return false;
    }
    seen_[number] = true;
    ++count_;
    return true;
  }

  int64_t count() const { return count_; }

  // Throws what is wrong if numbers 0 to sent-1 did not come once each.
  void Check(int64_t sent) const {
    const auto fail = [](int64_t n, const char* what) {
      throw std::runtime_error(std::to_string(n) + what);
    };
    if (foreign_ > 0) fail(foreign_, " messages came that were not sent");
    if (doubled_ > 0) fail(doubled_, " messages came twice");
    if (count_ < sent) fail(sent - count_, " messages did not come");
    if (count_ > sent) fail(count_ - sent, " messages came that were not sent");
    for (size_t n = static_cast<size_t>(sent); n < seen_.size(); ++n) {
      if (seen_[n]) fail(static_cast<int64_t>(n), ": a message of this number was not sent");
    }
  }

 private:
  static constexpr int64_t kMostNumber = int64_t{1} << 34;
  static constexpr size_t kRoom = 1 << 20;

  bool Foreign() {
    ++foreign_;
    return false;
  }

  int64_t size_;
  std::vector<bool> seen_;
  int64_t count_ = 0;
  int64_t doubled_ = 0;
  int64_t foreign_ = 0;
};

}  // namespace spillway::bench
