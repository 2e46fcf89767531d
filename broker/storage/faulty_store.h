// A store that does what it is told to do wrong. The faults are data: a list that
// can be read, printed and generated from a seed.
//
//   FaultyStore store(std::move(inner), {{.at = Call::kAppend, .nth = 3,
//                                         .fault = Fault::kUnknownWithEffect}});
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "broker/storage/log_store.h"

namespace spillway::storage {

enum class Call : uint8_t { kAppend, kAcquire, kRead };
enum class Fault : uint8_t {
  kOverloaded,            // refused at the call, no effect
  kUnavailable,           // refused at the call, no effect
  kUnknownWithEffect,     // the entry is kept; the completion says kUnknown
  kUnknownWithoutEffect,  // the entry is not kept; the completion says kUnknown
  kDelay,                 // the completion, and the lane's later ones, wait for Release
  kFenced,                // another owner takes the lane
  kPoisoned,              // as kUnknownWithoutEffect, and the store is gone for good
  kCorrupt,               // kRead, kAcquire: what is read is corrupt
};
std::string_view FaultName(Fault fault);

// The `nth` call of its kind (1: the first), of one lane or of any.
struct FaultRule {
  Call at = Call::kAppend;
  uint64_t nth = 1;
  Fault fault = Fault::kOverloaded;
  bool one_lane = false;
  LaneId lane;
};
std::string ToString(const FaultRule& rule);

// Thread-safe as the inner store is. REQUIRES: owners are destroyed before the
// store.
class FaultyStore final : public LogStore {
 public:
  FaultyStore(std::unique_ptr<LogStore> inner, std::vector<FaultRule> rules);
  ~FaultyStore() override;

  void Add(FaultRule rule);  // counts from the calls made so far
  // Calls what kDelay held back, in order, on this thread; delays no more of it.
  void Release();
  size_t held_back() const;
  // Rules that have struck.
  size_t struck() const;
  LogStore& inner() { return *inner_; }

  Capabilities capabilities() const override { return inner_->capabilities(); }
  void Acquire(LaneId lane, Replay replay, Acquired done) override;
  void Read(LaneId lane, Position from, size_t max_bytes, ReadDone done) override;
  void Watch(std::function<void(LaneId, bool)> f) override { inner_->Watch(std::move(f)); }
  void Remove(LaneId lane, Completion done) override { inner_->Remove(lane, std::move(done)); }
  void BeginRound() override { inner_->BeginRound(); }
  void EndRound(bool may_wait) override { inner_->EndRound(may_wait); }
  StoreStats stats() const override { return inner_->stats(); }
  void OnPoisoned(std::function<void(std::string)> f) override;

 private:
  class OwnerImpl;
  struct State;
  const std::shared_ptr<State> state_;
  const std::unique_ptr<LogStore> inner_;
};

}  // namespace spillway::storage
