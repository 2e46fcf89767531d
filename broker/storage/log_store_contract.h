// The tests that every store passes: a store's own test file gives a factory and
// instantiates LogStoreContract with it. The numbers are those of the contract.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "broker/storage/log_store.h"

namespace spillway::storage::contract {

struct Limits {
  size_t max_pending_bytes = size_t{16} << 20;
  size_t max_record_bytes = size_t{4} << 20;
};

// A store and what can be done to it from outside.
class Harness {
 public:
  virtual ~Harness() = default;
  virtual LogStore& store() = 0;
  // Lets a store that does nothing by itself go on.
  virtual void Run() {}
  // Closes and opens again. REQUIRES: no owner.
  virtual void Reopen() = 0;
  // What is left after kill -9 (kProcess) or a power failure (kFsync) now; the
  // store before it is closed. REQUIRES: no owner. False: cannot be shown.
  virtual bool Crash(Level level) = 0;
  // Whether a replay that takes long leaves other lanes alone.
  virtual bool parallel() const { return true; }
};

struct Param {
  std::string name;
  std::function<std::unique_ptr<Harness>(const Limits&)> make;
};

struct Completed {
  Err err = Err::kOk;
  Position position = 0;
};
struct Held {
  Err err = Err::kOk;
  std::unique_ptr<Owner> owner;
  std::vector<Entry> replayed;
};
struct Page {
  Err err = Err::kOk;
  std::vector<Entry> entries;
  Position next = 0;
};

// A record whose body is the parts put together.
Record MakeRecord(std::string_view body, Offset base_offset = 0, Kind kind = Kind::kData);
Record MakeRecord(std::vector<std::string> parts, Offset base_offset = 0);
std::vector<std::string> Bodies(const std::vector<Entry>& entries);

// Waits for what the store calls back, running it meanwhile.
class Driver {
 public:
  explicit Driver(Harness& harness) : harness_(harness) {}
  // Until `ready` is true; fails the test after a generous time.
  bool Until(const std::function<bool()>& ready);

  Held Acquire(LaneId lane);
  Completed Append(Owner& owner, const Record& record, Level level = Level::kFsync);
  Completed Barrier(Owner& owner);
  Completed Trim(Owner& owner, Position upto);
  Completed Remove(LaneId lane);
  Page Read(LaneId lane, Position from, size_t max_bytes = size_t{1} << 30);

 private:
  Harness& harness_;
};

class LogStoreContract : public ::testing::TestWithParam<Param> {
 protected:
  static constexpr LaneId kLane{7, 0};
  static constexpr LaneId kOther{7, 1};

  void Start(const Limits& limits = {}) {
    harness_ = GetParam().make(limits);
    driver_ = std::make_unique<Driver>(*harness_);
  }
  LogStore& store() { return harness_->store(); }
  Driver& drive() { return *driver_; }

  std::unique_ptr<Harness> harness_;
  std::unique_ptr<Driver> driver_;
};

inline std::string ParamName(const ::testing::TestParamInfo<Param>& info) {
  return info.param.name;
}

}  // namespace spillway::storage::contract
