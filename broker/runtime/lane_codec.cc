#include "broker/runtime/lane_codec.h"

namespace spillway::runtime {
namespace {

template <typename Field>
void AddRanges(const std::vector<OffsetRange>& ranges, Field* field) {
  for (const OffsetRange& range : ranges) {
    auto* out = field->Add();
    out->set_first_offset(range.first);
    out->set_count(range.count);
  }
}

}  // namespace

spb::GroupState ToProto(const queue::Group& group) {
  const auto state = group.state();
  spb::GroupState out;
  out.set_name(group.name());
  out.set_mode(static_cast<uint32_t>(group.mode()));
  out.set_cursor_offset(state.cursor);
  AddRanges(state.settled, out.mutable_settled());
  for (const auto& ready : state.attempted) {
    auto* a = out.add_attempted();
    a->set_first_offset(ready.range.first);
    a->set_count(ready.range.count);
    a->set_attempt(ready.attempt);
  }
  for (const auto& [offset, parked] : state.parked) {
    auto* p = out.add_parked();
    p->set_offset(offset);
    p->set_attempts(parked.attempts);
    p->set_parked_at_unix_ms(parked.parked_at);
    p->set_reason(parked.reason);
  }
  return out;
}

void RestoreGroup(const spb::GroupState& in, queue::Lane* lane) {
  queue::Group::State state;
  state.cursor = in.cursor_offset();
  for (const auto& r : in.settled()) state.settled.push_back({r.first_offset(), r.count()});
  for (const auto& a : in.attempted()) {
    state.attempted.push_back({{a.first_offset(), a.count()}, a.attempt()});
  }
  for (const auto& p : in.parked()) {
    state.parked.push_back({p.offset(), {p.attempts(), p.parked_at_unix_ms(), p.reason()}});
  }
  const auto mode = in.mode() == static_cast<uint32_t>(queue::GroupMode::kExclusive)
                        ? queue::GroupMode::kExclusive
                        : queue::GroupMode::kShared;
  queue::Group* group = lane->FindGroup(in.name());
  if (group == nullptr) group = lane->AddGroup(in.name(), mode, state.cursor);
  group->set_mode(mode);
  group->Restore(state);
}

spb::LaneSnapshot ToProto(const queue::Lane& lane) {
  const auto state = lane.state();
  spb::LaneSnapshot out;
  out.set_head_offset(state.head);
  out.set_tail_offset(state.tail);
  out.set_bytes_before_tail(state.bytes_before_tail);
  out.set_last_appended_at_unix_ms(state.last_appended_at);
  for (const auto& mark : state.marks) {
    auto* m = out.add_marks();
    m->set_first_offset(mark.first);
    m->set_position(mark.position);
    m->set_appended_at_unix_ms(mark.appended_at);
    m->set_bytes_before(mark.bytes_before);
  }
  AddRanges(state.lost, out.mutable_lost());
  for (const auto& [name, group] : lane.groups()) *out.add_groups() = ToProto(*group);
  return out;
}

void RestoreLane(const spb::LaneSnapshot& in, queue::Lane* lane) {
  queue::Lane::State state;
  state.head = in.head_offset();
  state.tail = in.tail_offset();
  state.bytes_before_tail = in.bytes_before_tail();
  state.last_appended_at = in.last_appended_at_unix_ms();
  for (const auto& m : in.marks()) {
    state.marks.push_back(
        {m.first_offset(), m.position(), m.appended_at_unix_ms(), m.bytes_before()});
  }
  for (const auto& r : in.lost()) state.lost.push_back({r.first_offset(), r.count()});
  lane->Restore(state);
  for (const auto& group : in.groups()) RestoreGroup(group, lane);
}

}  // namespace spillway::runtime
