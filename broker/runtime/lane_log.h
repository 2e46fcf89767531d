// A lane's place in the store: what is on its way, and what waits for room.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "broker/base/types.h"
#include "broker/runtime/inbox.h"
#include "broker/storage/log_store.h"

namespace spillway::runtime {

// Appends complete in the order they were accepted, so a queue of callbacks is
// all the matching there is. Control entries that the store has no room for wait
// here; records wait in the lane's window, where they are counted.
// Thread-safety: shard thread only.
class LaneLog final : public CompletionTarget {
 public:
  using Then = std::function<void(storage::Err, storage::Position)>;

  // With the time of the append.
  using OnData = std::function<void(storage::Err, storage::Position, MonoNanos at)>;

  // `on_data` is called for each completed data entry, `on_room` when the store
  // takes appends again after it refused.
  LaneLog(Inbox* inbox, OnData on_data, std::function<void()> on_room);
  ~LaneLog() override;

  void Attach(std::unique_ptr<storage::Owner> owner) { owner_ = std::move(owner); }
  bool attached() const { return owner_ != nullptr; }
  storage::Epoch epoch() const { return owner_ ? owner_->epoch() : 0; }

  // False: not now. on_room will be called when there is room, or on_data when less is
  // on the way; a store that is unavailable is asked again by Retry; an error ends in
  // `error()`.
  bool AppendData(const storage::Record& record, storage::Level level, MonoNanos now);
  // `then` runs in a later batch, never inside the call; it may be null.
  void AppendControl(storage::Record record, storage::Level level, Then then);
  void Trim(storage::Position upto);

  // The store refused for now, without effect; call Retry a little later.
  bool unavailable() const { return unavailable_; }
  void Retry();

  size_t outstanding() const { return outstanding_.size(); }
  // When the oldest record that has not completed was appended; nothing if there is none.
  std::optional<MonoNanos> oldest() const;
  // The first failure; nothing is appended after it.
  std::optional<storage::Err> error() const { return error_; }
  // Gives the lane up.
  void Release() { owner_.reset(); }

  void OnCompleted(storage::Err err, storage::Position position) override;

  // The store writes what all lanes give it in the order that it came. A lane that
  // gives more than keeps it busy only makes the others wait.
  static constexpr size_t kMostOnTheWay = size_t{4} << 20;

 private:
  struct Outstanding {
    bool data = false;
    size_t bytes = 0;
    MonoNanos at = 0;
    Then then;
  };
  struct Waiting {
    storage::Record record;
    storage::Level level;
    Then then;
  };
  // Accepts or refuses; on kOverloaded asks to be told of room.
  storage::Err TryAppend(const storage::Record& record, storage::Level level);
  void OnRoom();

  Inbox* const inbox_;
  const OnData on_data_;
  const std::function<void()> on_room_;
  std::unique_ptr<storage::Owner> owner_;
  std::deque<Outstanding> outstanding_;
  size_t data_bytes_ = 0;  // of what is outstanding
  std::deque<Waiting> waiting_;
  bool asked_for_room_ = false;
  bool unavailable_ = false;
  std::optional<storage::Err> error_;
  // Outlives this object in callbacks of the store.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace spillway::runtime
