#include "broker/runtime/lane_log.h"

#include <cassert>
#include <utility>

namespace spillway::runtime {

using storage::Err;
using storage::Level;
using storage::Position;

LaneLog::LaneLog(Inbox* inbox, OnData on_data, std::function<void()> on_room)
    : inbox_(inbox), on_data_(std::move(on_data)), on_room_(std::move(on_room)) {}

LaneLog::~LaneLog() {
  // The store still holds pointers to this until everything has completed.
  assert(outstanding_.empty());
  *alive_ = false;
}

Err LaneLog::TryAppend(const storage::Record& record, Level level) {
  if (error_) return *error_;
  const Err err =
      owner_->Append(record, level, [this](Err e, Position p) { inbox_->Completed(this, e, p); });
  if (err == Err::kOk) return err;
  if (err == Err::kOverloaded) {
    if (!asked_for_room_) {
      asked_for_room_ = true;
      owner_->OnDrain([inbox = inbox_, this, alive = alive_] {
        inbox->Push([this, alive] {
          if (*alive) OnRoom();
        });
      });
    }
    return err;
  }
  if (err == Err::kUnavailable) {
    unavailable_ = true;
    return err;
  }
  error_ = err;
  return err;
}

namespace {
// Refused without effect: what was to be appended waits.
bool Waits(Err err) { return err == Err::kOverloaded || err == Err::kUnavailable; }
}  // namespace

bool LaneLog::AppendData(const storage::Record& record, Level level, MonoNanos now) {
  if (!waiting_.empty() || owner_ == nullptr) return false;
  const size_t bytes = record.body_bytes();
  if (data_bytes_ > 0 && data_bytes_ + bytes > kMostOnTheWay) return false;
  if (TryAppend(record, level) != Err::kOk) return false;
  data_bytes_ += bytes;
  outstanding_.push_back({.data = true, .bytes = bytes, .at = now, .then = nullptr});
  return true;
}

void LaneLog::AppendControl(storage::Record record, Level level, Then then) {
  if (owner_ != nullptr && waiting_.empty()) {
    const Err err = TryAppend(record, level);
    if (err == Err::kOk) {
      outstanding_.push_back({.then = std::move(then)});
      return;
    }
    if (!Waits(err)) {
      if (then) inbox_->Push([err, then = std::move(then)] { then(err, 0); });
      return;
    }
  }
  waiting_.push_back({std::move(record), level, std::move(then)});
}

void LaneLog::Trim(Position upto) {
  if (owner_ == nullptr || error_) return;
  // A hint: whether and when it takes effect changes nothing here.
  owner_->Trim(upto, [](Err, Position) {});
}

void LaneLog::Retry() {
  unavailable_ = false;
  OnRoom();
}

void LaneLog::OnRoom() {
  asked_for_room_ = false;
  while (!waiting_.empty()) {
    Waiting& next = waiting_.front();
    const Err err = TryAppend(next.record, next.level);
    // Also where it has to be tried again at a time.
    if (Waits(err)) return on_room_();
    Then then = std::move(next.then);
    waiting_.pop_front();
    if (err == Err::kOk) {
      outstanding_.push_back({.then = std::move(then)});
    } else if (then) {
      then(err, 0);
    }
  }
  on_room_();
}

std::optional<MonoNanos> LaneLog::oldest() const {
  for (const Outstanding& outstanding : outstanding_) {
    if (outstanding.data) return outstanding.at;
  }
  return std::nullopt;
}

void LaneLog::OnCompleted(Err err, Position position) {
  Outstanding done = std::move(outstanding_.front());
  outstanding_.pop_front();
  if (err != Err::kOk && !error_) error_ = err;
  if (done.data) {
    data_bytes_ -= done.bytes;
    on_data_(err, position, done.at);
  } else if (done.then) {
    done.then(err, position);
  }
}

}  // namespace spillway::runtime
