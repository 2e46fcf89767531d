// A lane's log on a simulated disk: what is appended becomes durable later and in
// order; a crash keeps what is durable and, of the rest, as much as chance will.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/base/random.h"
#include "broker/queue/lane.h"
#include "broker/queue/model/auditor.h"

namespace spillway::queue::model {

struct SavedGroup {
  Group::State state;
  AuditedGroup audited;
};

// What an entry that is not data says. Each part that is set replaces what was
// known.
struct Saved {
  std::optional<Lane::State> lane;  // a snapshot; then all the rest is set too
  std::map<std::string, SavedGroup> groups;
  std::optional<std::string> deleted_group;
  std::optional<Offset> head;
  Offset reserved = 0;
};

// Thread-safety: none.
class SimLog {
 public:
  struct Entry {
    LogPosition position = 0;
    std::optional<Batch> data;
    std::shared_ptr<const Saved> saved;
    std::function<void(LogPosition)> done;
  };

  explicit SimLog(Random* random) : random_(random) {}

  void Append(Entry entry) { pending_.push_back(std::move(entry)); }
  bool idle() const { return pending_.empty(); }
  // The oldest entry on its way has become durable; calls its `done`.
  void CompleteOne();
  // Those on their way become durable or vanish, without a word.
  // `durable` is called for data that stayed.
  void Crash(const std::function<void(const Batch&)>& durable);

  // Entries below are gone, but for what a replay needs.
  void Trim(LogPosition upto);
  LogPosition trimmed() const { return trimmed_; }
  // Durable data at or after `from`, at least one batch if there is one.
  // REQUIRES: from >= trimmed().
  std::deque<Batch> Read(LogPosition from, uint64_t max_bytes, LogPosition* next) const;
  // From the last durable snapshot on.
  std::vector<const Entry*> Replay() const;
  // Whether durable data that can be read holds `offset`.
  bool Has(Offset offset) const;

 private:
  Random* const random_;
  std::deque<Entry> durable_;
  std::deque<Entry> pending_;
  LogPosition last_ = 0;
  LogPosition trimmed_ = 0;
};

}  // namespace spillway::queue::model
