#include "broker/storage/log_store_contract.h"

#include <thread>

#include "broker/storage/callback_slot.h"

namespace spillway::storage::contract {

namespace {

constexpr std::chrono::seconds kPatience{30};

}  // namespace

Record MakeRecord(std::string_view body, Offset base_offset, Kind kind) {
  Record r;
  r.kind = kind;
  r.base_offset = base_offset;
  r.count = kind == Kind::kData ? 1 : 0;
  r.parts[0] = {wire::Buffer::Copy(body), 0, static_cast<uint32_t>(body.size())};
  return r;
}

Record MakeRecord(std::vector<std::string> parts, Offset base_offset) {
  Record r;
  r.base_offset = base_offset;
  r.count = static_cast<uint32_t>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    // Each part is the middle of its buffer.
    r.parts[i] = {wire::Buffer::Copy("<" + parts[i] + ">"), 1,
                  static_cast<uint32_t>(parts[i].size())};
  }
  return r;
}

std::vector<std::string> Bodies(const std::vector<Entry>& entries) {
  std::vector<std::string> out;
  out.reserve(entries.size());
  for (const Entry& e : entries) out.emplace_back(e.body.view());
  return out;
}

bool Driver::Until(const std::function<bool()>& ready) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!ready()) {
    harness_.Run();
    if (ready()) return true;
    if (std::chrono::steady_clock::now() > end) {
      ADD_FAILURE() << "the store did not call back";
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

namespace {

Completion Into(Slot<Completed> slot) {
  return [slot](Err err, Position position) mutable { slot.Set({err, position}); };
}

Completed Await(Driver& driver, Slot<Completed> slot) {
  if (!driver.Until([&] { return slot.ready(); })) return {Err::kMisconfigured, 0};
  return slot.Take();
}

}  // namespace

Held Driver::Acquire(LaneId lane) {
  Slot<Held> slot;
  auto entries = std::make_shared<std::vector<Entry>>();
  harness_.store().Acquire(
      lane,
      [entries](const Entry& e) {
        entries->push_back(e);
        return true;
      },
      [slot, entries](Err err, std::unique_ptr<Owner> owner) mutable {
        slot.Set({err, std::move(owner), std::move(*entries)});
      });
  if (!Until([&] { return slot.ready(); })) return {.err = Err::kMisconfigured};
  return slot.Take();
}

Completed Driver::Append(Owner& owner, const Record& record, Level level) {
  Slot<Completed> slot;
  const Err accepted = owner.Append(record, level, Into(slot));
  if (accepted != Err::kOk) return {accepted, 0};
  return Await(*this, slot);
}
Completed Driver::Barrier(Owner& owner) {
  Slot<Completed> slot;
  owner.Barrier(Into(slot));
  return Await(*this, slot);
}
Completed Driver::Trim(Owner& owner, Position upto) {
  Slot<Completed> slot;
  owner.Trim(upto, Into(slot));
  return Await(*this, slot);
}
Completed Driver::Remove(LaneId lane) {
  Slot<Completed> slot;
  harness_.store().Remove(lane, Into(slot));
  return Await(*this, slot);
}
Page Driver::Read(LaneId lane, Position from, size_t max_bytes) {
  Slot<Page> slot;
  harness_.store().Read(lane, from, max_bytes,
                        [slot](Err err, std::vector<Entry> entries, Position next) mutable {
                          slot.Set({err, std::move(entries), next});
                        });
  if (!Until([&] { return slot.ready(); })) return {.err = Err::kMisconfigured};
  return slot.Take();
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LogStoreContract);

}  // namespace spillway::storage::contract
