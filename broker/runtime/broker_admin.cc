// The calls of Admin that concern one queue.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/base/registry.gen.h"
#include "broker/runtime/broker_impl.h"
#include "broker/runtime/page_size.h"
#include "broker/runtime/tuning_codec.h"

namespace spillway::runtime {
namespace {

Error RevisionMismatch(const std::string& queue, uint64_t expected, uint64_t actual) {
  return {.kind = ErrorKind::kRevisionMismatch,
          .message = absl::StrCat("queue ", queue, " is at revision ", actual,
                                  "; get it again and decide anew"),
          .queue = queue,
          .field = "expected_revision",
          .limit = actual,
          .actual = expected};
}

}  // namespace

void BrokerImpl::FillQueue(const LaneActor& lane, pb::Queue* out) const {
  out->set_name(lane.name());
  out->set_revision(lane.revision());
  *out->mutable_tuning() = ToProto(lane.core().tuning());
  out->set_partitions(1);
  lane.Describe(out->mutable_stats());
}

void BrokerImpl::CreateQueue(const pb::CreateQueueRequest& request,
                             Reply<pb::CreateQueueResponse> reply) {
  Create(request.name(), request.tuning(),
         [this, reply = std::move(reply)](Result<LaneActor*> lane) {
           if (!lane) return Answer<pb::CreateQueueResponse>(reply, lane.error());
           pb::CreateQueueResponse response;
           FillQueue(**lane, response.mutable_queue());
           Answer<pb::CreateQueueResponse>(reply, std::move(response));
         });
}

void BrokerImpl::UpdateQueue(const pb::UpdateQueueRequest& request,
                             Reply<pb::UpdateQueueResponse> reply) {
  using Response = pb::UpdateQueueResponse;
  auto lane = FindLane(request.name(), "name");
  if (!lane) return Answer<Response>(reply, lane.error());
  LaneActor* actor = *lane;
  if (request.expected_revision() != 0 && request.expected_revision() != actor->revision()) {
    return Answer<Response>(
        reply, RevisionMismatch(request.name(), request.expected_revision(), actor->revision()));
  }
  auto tuning = ApplyTuning(actor->core().tuning(), request.tuning(), false);
  if (!tuning) return Answer<Response>(reply, tuning.error());
  const uint64_t revision = actor->revision() + 1;
  // In force at once for what comes next; told once it is durable.
  actor->SetTuning(revision, *tuning);
  queues_->Put({actor->id().queue, actor->name(), revision, *tuning},
               [this, name = request.name(), reply](std::optional<Error> error) {
                 if (error) return Answer<Response>(reply, std::move(*error));
                 auto found = FindLane(name, "name");
                 if (!found) return Answer<Response>(reply, found.error());
                 Response response;
                 FillQueue(**found, response.mutable_queue());
                 Answer<Response>(reply, std::move(response));
               });
}

void BrokerImpl::GetQueue(const pb::GetQueueRequest& request, Reply<pb::GetQueueResponse> reply) {
  auto lane = FindLane(request.name(), "name");
  if (!lane) return Answer<pb::GetQueueResponse>(reply, lane.error());
  pb::GetQueueResponse response;
  FillQueue(**lane, response.mutable_queue());
  Answer<pb::GetQueueResponse>(reply, std::move(response));
}

void BrokerImpl::DeleteQueue(const pb::DeleteQueueRequest& request,
                             Reply<pb::DeleteQueueResponse> reply) {
  using Response = pb::DeleteQueueResponse;
  if (auto refusal = Refusal()) return Answer<Response>(reply, *refusal);
  auto it = lanes_.find(request.name());
  // A queue that refuses to serve can still be deleted.
  if (it == lanes_.end()) {
    return Answer<Response>(reply, FindLane(request.name(), "name").error());
  }
  LaneActor* lane = it->second.get();
  if (!lane->ready() && !lane->failure()) {
    return Answer<Response>(reply, FindLane(request.name(), "name").error());
  }
  if (request.expected_revision() != 0 && request.expected_revision() != lane->revision()) {
    return Answer<Response>(
        reply, RevisionMismatch(request.name(), request.expected_revision(), lane->revision()));
  }
  lane->Fail({.kind = ErrorKind::kClosed,
              .message = absl::StrCat("queue ", request.name(), " was deleted"),
              .queue = request.name()});
  MarkDirty(lane);
  const LaneId id = lane->id();
  leaving_.push_back(std::move(it->second));
  lanes_.erase(it);
  --shared_->queues;
  queues_->Remove(id.queue, [this, id, reply](std::optional<Error> error) {
    if (error) return Answer<Response>(reply, std::move(*error));
    for (const auto& gone : leaving_) {
      if (gone->id() == id) gone->Release();
    }
    // What remains of it if this is cut short is removed at the next start.
    store->Remove(id, [](storage::Err, storage::Position) {});
    Answer<Response>(reply, Response());
  });
}

void BrokerImpl::PurgeQueue(const pb::PurgeQueueRequest& request,
                            Reply<pb::PurgeQueueResponse> reply) {
  using Response = pb::PurgeQueueResponse;
  auto lane = FindLane(request.name(), "name");
  if (!lane) return Answer<Response>(reply, lane.error());
  LaneActor* actor = *lane;
  const Offset had = actor->core().head();
  const Offset tail = actor->core().visible_end();
  const Offset head = request.has_before_offset() ? request.before_offset() : tail;
  if (head > tail) {
    return Answer<Response>(reply, Error{.kind = ErrorKind::kOutOfRange,
                                         .message = "before_offset lies above the tail",
                                         .queue = request.name(),
                                         .field = "before_offset",
                                         .limit = tail,
                                         .actual = head,
                                         .head = had,
                                         .tail = tail});
  }
  actor->Purge(head, [this, had, reply, now_head = std::max(had, head)](Status status) {
    if (!status) return Answer<Response>(reply, status.error());
    Response response;
    response.set_purged_messages(now_head - had);
    response.set_head_offset(now_head);
    Answer<Response>(reply, std::move(response));
  });
}

void BrokerImpl::Peek(const pb::PeekRequest& request, Reply<pb::PeekResponse> reply) {
  using Response = pb::PeekResponse;
  auto lane = FindLane(request.queue(), "queue");
  if (!lane) return Answer<Response>(reply, lane.error());
  auto most =
      PageSize(request.max_messages(), registry::limit::kDefaultPeekMessages, "max_messages");
  if (!most) return Answer<Response>(reply, most.error());
  LaneActor* actor = *lane;
  actor->ResolveStart(request.start(), "start",
                      [this, actor, n = *most, reply, alive = actor->alive()](Result<Offset> from) {
                        if (!*alive) return;
                        if (!from) return Answer<Response>(reply, from.error());
                        actor->Peek(*from, n, [this, reply](Result<Response> result) {
                          Answer<Response>(reply, std::move(result));
                        });
                      });
}

// ---- Groups --------------------------------------------------------------------

Result<std::pair<LaneActor*, queue::Group*>> BrokerImpl::FindGroup(const std::string& queue,
                                                                   const std::string& group) {
  auto lane = FindLane(queue, "queue");
  if (!lane) return lane.error();
  queue::Group* found = (*lane)->core().FindGroup(group);
  if (found == nullptr) {
    return Error{.kind = ErrorKind::kNotFound,
                 .message = absl::StrCat("queue ", queue, " has no group ", group),
                 .queue = queue,
                 .field = "group"};
  }
  return std::pair{*lane, found};
}

pb::Group BrokerImpl::DescribeGroup(const LaneActor& lane, const queue::Group& group) const {
  pb::Group out;
  out.set_name(group.name());
  out.set_mode(static_cast<pb::GroupMode>(group.mode()));
  out.set_members(static_cast<uint32_t>(const_cast<LaneActor&>(lane).consumers().members(&group)));
  out.set_cursor_offset(group.cursor());
  const Offset tail = lane.core().tail();
  const uint64_t above = tail > group.cursor() ? tail - group.cursor() : 0;
  out.set_lag_messages(above - std::min(above, group.settled_above_cursor()));
  out.set_in_flight_messages(group.in_flight_messages());
  out.set_retrying_messages(group.delayed_messages() + group.ready_messages());
  out.set_parked_messages(group.parked().size());
  out.set_gone_messages_total(group.gone_total());
  out.set_redelivered_messages_total(group.redelivered_total());
  out.set_reading_from_disk(group.next() < lane.core().window().begin());
  out.set_next_offset(group.next());
  return out;
}

void BrokerImpl::ListGroups(const pb::ListGroupsRequest& request,
                            Reply<pb::ListGroupsResponse> reply) {
  using Response = pb::ListGroupsResponse;
  auto lane = FindLane(request.queue(), "queue");
  if (!lane) return Answer<Response>(reply, lane.error());
  Response response;
  for (const auto& [name, group] : (*lane)->core().groups()) {
    *response.add_groups() = DescribeGroup(**lane, *group);
  }
  Answer<Response>(reply, std::move(response));
}

void BrokerImpl::SeekGroup(const pb::SeekGroupRequest& request,
                           Reply<pb::SeekGroupResponse> reply) {
  using Response = pb::SeekGroupResponse;
  auto found = FindGroup(request.queue(), request.group());
  if (!found) return Answer<Response>(reply, found.error());
  if (request.target().position_case() == pb::Start::POSITION_NOT_SET) {
    return Answer<Response>(reply, InvalidArgument("target", "say where to"));
  }
  LaneActor* lane = found->first;
  lane->ResolveStart(
      request.target(), "target",
      [this, lane, request, reply, alive = lane->alive()](Result<Offset> target) {
        if (!*alive) return;
        if (!target) return Answer<Response>(reply, target.error());
        auto again = FindGroup(request.queue(), request.group());
        if (!again) return Answer<Response>(reply, again.error());
        lane->SeekGroup(again->second, *target, [this, request, reply](Status status) {
          if (!status) return Answer<Response>(reply, status.error());
          auto moved = FindGroup(request.queue(), request.group());
          if (!moved) return Answer<Response>(reply, moved.error());
          Response response;
          *response.mutable_group() = DescribeGroup(*moved->first, *moved->second);
          Answer<Response>(reply, std::move(response));
        });
      });
}

void BrokerImpl::DeleteGroup(const pb::DeleteGroupRequest& request,
                             Reply<pb::DeleteGroupResponse> reply) {
  using Response = pb::DeleteGroupResponse;
  auto found = FindGroup(request.queue(), request.group());
  if (!found) return Answer<Response>(reply, found.error());
  found->first->DeleteGroup(found->second, [this, reply](Status status) {
    if (!status) return Answer<Response>(reply, status.error());
    Answer<Response>(reply, Response());
  });
}

void BrokerImpl::ListParked(const pb::ListParkedRequest& request,
                            Reply<pb::ListParkedResponse> reply) {
  using Response = pb::ListParkedResponse;
  auto found = FindGroup(request.queue(), request.group());
  if (!found) return Answer<Response>(reply, found.error());
  auto most =
      PageSize(request.max_messages(), registry::limit::kDefaultParkedPageSize, "max_messages");
  if (!most) return Answer<Response>(reply, most.error());
  Response response;
  const auto& parked = found->second->parked();
  for (auto it = parked.lower_bound(request.from_offset()); it != parked.end(); ++it) {
    if (static_cast<uint32_t>(response.records_size()) == *most) {
      response.set_next_offset(it->first);
      break;
    }
    pb::ParkedRecord* record = response.add_records();
    record->set_offset(it->first);
    record->set_attempts(it->second.attempts);
    record->set_reason(it->second.reason);
    record->set_parked_at_unix_ms(it->second.parked_at);
  }
  Answer<Response>(reply, std::move(response));
}

void BrokerImpl::ReleaseParked(const pb::ReleaseParkedRequest& request,
                               Reply<pb::ReleaseParkedResponse> reply) {
  using Response = pb::ReleaseParkedResponse;
  auto found = FindGroup(request.queue(), request.group());
  if (!found) return Answer<Response>(reply, found.error());
  std::vector<OffsetRange> ranges;
  for (const auto& range : request.ranges()) {
    const OffsetRange out{range.first_offset(), range.count()};
    if (out.count == 0 || out.end() < out.first) {
      return Answer<Response>(reply, InvalidArgument("ranges", "an empty or overflowing range"));
    }
    ranges.push_back(out);
  }
  if (ranges.empty()) ranges.push_back({0, std::numeric_limits<uint64_t>::max()});
  found->first->ReleaseParked(found->second, ranges, [this, reply](Result<uint64_t> released) {
    if (!released) return Answer<Response>(reply, released.error());
    Response response;
    response.set_released_messages(*released);
    Answer<Response>(reply, std::move(response));
  });
}

}  // namespace spillway::runtime
