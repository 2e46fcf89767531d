// The driver's parts: see driver.h for what it is. One file for each side that it
// plays: the log (driver_log.cc), groups (driver_groups.cc), readers and whoever
// removes records (driver_readers.cc).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/base/random.h"
#include "broker/queue/model/auditor.h"
#include "broker/queue/model/driver.h"
#include "broker/queue/model/fault.h"
#include "broker/queue/model/sim_log.h"

namespace spillway::queue::model {

inline constexpr MonoNanos kMillis = kNanosPerMilli;
inline constexpr uint64_t kUnlimited = uint64_t{1} << 40;

// A large record may pass the bytes of a frame if it comes first; then only empty
// ones can follow.
inline bool FitsFrame(const wire::Delivery& out, const std::vector<Seen>& seen, const Credit& max) {
  if (out.cost.Within(max) || seen.empty()) return true;
  return out.cost.messages <= max.messages && out.cost.bytes == seen[0].body.size();
}

// Thread-safety: none.
class Driver {
 public:
  Driver(uint64_t seed, Fault fault);
  RunResult Run(int operations);

 private:
  struct Member {
    MemberId id = 0;
    std::string group;
  };
  struct Read {
    Fetch* fetch = nullptr;
    LogPosition from = 0;
  };
  struct OpenReader {
    Reader reader;
    AuditedReader audited;
  };

  bool Good() const { return auditor_.failure().empty(); }
  bool Chance(uint64_t percent) { return random_.Below(100) < percent; }
  uint64_t Between(uint64_t low, uint64_t high) { return low + random_.Below(high - low + 1); }
  Lane& lane() { return lane_->core(); }
  bool memory() const { return tuning_.durability == Durability::kMemory; }
  void Note(uint64_t value) { history_ = (history_ ^ value) * 0x100000001b3; }
  void Note(const std::vector<OffsetRange>& ranges) {
    for (const OffsetRange& range : ranges) {
      Note(range.first);
      Note(range.count);
    }
  }
  MonoNanos Deadline() const { return now_.mono + rules_.ack_deadline; }
  Group& GroupOf(const Member& member) { return *lane().FindGroup(member.group); }

  void Step();
  void CheckAll();

  // Producers and the store.
  void Publish();
  void Store(const Credit& keep);
  void CompleteSome(uint64_t most);
  void Evict();
  void Reserve();
  void Snapshot();
  void SaveGroup(const std::string& name);
  void ChangeTuning();

  // Groups.
  void AddGroup();
  void RemoveGroup();
  void AddMember();
  bool DeliverTo(const Member& member, Credit room, Credit max);
  void DeliverSome();
  void SettleSome();
  void ExtendSome();
  void Leave();
  void Resume(const Member& member, std::vector<OffsetRange> held);
  void Tick();
  void Seek();
  void Release();
  void Start(const DiskRead& read);
  void FinishRead(bool may_fail);
  void ForgetReads(const Group& group);

  // Readers.
  void OpenAReader();
  bool ReadOnce(OpenReader& reader, Credit room, Credit max);
  void ReadSome();

  // Removing.
  void Remove();

  void Crash();
  void Drain();

  Random random_;
  const Fault fault_;
  Tuning tuning_;
  const RetryRules rules_;
  SimLog log_;
  Auditor auditor_;
  std::unique_ptr<FaultyLane> lane_;
  Now now_{1'000 * kMillis, 1'700'000'000'000};
  std::vector<Member> members_;
  std::vector<Read> reads_;
  std::vector<std::unique_ptr<OpenReader>> readers_;
  MemberId next_member_ = 1;
  uint64_t next_group_ = 0;
  Offset reserved_ = 0;          // as appended
  Offset durable_reserved_ = 0;  // as kept
  uint64_t history_ = 0xcbf29ce484222325;
  Counts counts_;
};

}  // namespace spillway::queue::model
