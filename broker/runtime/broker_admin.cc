// The calls of Admin.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/base/ids.h"
#include "broker/base/registry.gen.h"
#include "broker/base/version.h"
#include "broker/runtime/broker_impl.h"
#include "broker/runtime/explain.h"
#include "broker/runtime/tuning_codec.h"

namespace spillway::runtime {
namespace {

uint64_t ResidentMemoryBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// 0 means the most; above it is refused, so that nobody takes a part for all.
Result<uint32_t> PageSize(uint32_t asked, uint32_t when_zero, const char* field) {
  const auto most = static_cast<uint32_t>(registry::limit::kMaxPageSize);
  if (asked > most) {
    Error error = InvalidArgument(field, absl::StrCat(field, " is at most ", most));
    error.limit = most;
    error.actual = asked;
    return error;
  }
  return asked == 0 ? when_zero : asked;
}

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
  catalog_.Put({actor->id().queue, actor->name(), revision, *tuning},
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

void BrokerImpl::ListQueues(const pb::ListQueuesRequest& request,
                            Reply<pb::ListQueuesResponse> reply) {
  using Response = pb::ListQueuesResponse;
  if (auto refusal = Refusal()) return Answer<Response>(reply, *refusal);
  auto size = PageSize(request.page_size(), registry::limit::kMaxPageSize, "page_size");
  if (!size) return Answer<Response>(reply, size.error());
  Response response;
  // A page's token is the last name of the page before.
  auto it = request.page_token().empty() ? lanes_.lower_bound(request.prefix())
                                         : lanes_.upper_bound(request.page_token());
  for (; it != lanes_.end(); ++it) {
    if (it->first.compare(0, request.prefix().size(), request.prefix()) != 0) break;
    if (static_cast<uint32_t>(response.queues_size()) == *size) {
      response.set_next_page_token(response.queues(response.queues_size() - 1).name());
      break;
    }
    FillQueue(*it->second, response.add_queues());
  }
  Answer<Response>(reply, std::move(response));
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
  catalog_.Remove(id.queue, [this, id, reply](std::optional<Error> error) {
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

// ---- Sessions --------------------------------------------------------------------

void BrokerImpl::ListSessions(const pb::ListSessionsRequest& request,
                              Reply<pb::ListSessionsResponse> reply) {
  using Response = pb::ListSessionsResponse;
  if (auto refusal = Refusal()) return Answer<Response>(reply, *refusal);
  auto size = PageSize(request.page_size(), registry::limit::kMaxPageSize, "page_size");
  if (!size) return Answer<Response>(reply, size.error());
  std::vector<pb::Session> all;
  streams_.ForEach([&](const Stream& stream) {
    if (!request.queue().empty() && stream.queue != request.queue()) return;
    if (stream.id > request.page_token()) all.push_back(stream.Describe());
  });
  std::sort(all.begin(), all.end(),
            [](const pb::Session& a, const pb::Session& b) { return a.id() < b.id(); });
  Response response;
  for (auto& session : all) {
    if (static_cast<uint32_t>(response.sessions_size()) == *size) {
      response.set_next_page_token(response.sessions(response.sessions_size() - 1).id());
      break;
    }
    *response.add_sessions() = std::move(session);
  }
  Answer<Response>(reply, std::move(response));
}

void BrokerImpl::CloseSession(const pb::CloseSessionRequest& request,
                              Reply<pb::CloseSessionResponse> reply) {
  using Response = pb::CloseSessionResponse;
  auto stream = streams_.Find(request.id());
  if (stream == nullptr) {
    return Answer<Response>(
        reply,
        Error{.kind = ErrorKind::kNotFound, .message = "there is no such session", .field = "id"});
  }
  stream->CloseByOperator();
  Answer<Response>(reply, Response());
}

void BrokerImpl::Explain(const pb::ExplainRequest& request, Reply<pb::ExplainResponse> reply) {
  using Response = pb::ExplainResponse;
  Response response;
  switch (request.subject_case()) {
    case pb::ExplainRequest::kQueue: {
      // A queue that failed says why, so it is found all the same.
      auto it = lanes_.find(request.queue());
      if (it == lanes_.end()) {
        return Answer<Response>(reply, FindLane(request.queue(), "queue").error());
      }
      it->second->Explain(&response);
      return Answer<Response>(reply, std::move(response));
    }
    case pb::ExplainRequest::kSession: {
      auto stream = streams_.Find(request.session());
      if (stream == nullptr) {
        return Answer<Response>(reply, Error{.kind = ErrorKind::kNotFound,
                                             .message = "there is no such session",
                                             .field = "session"});
      }
      stream->Explain(now.mono, &response);
      return Answer<Response>(reply, std::move(response));
    }
    default:
      return Answer<Response>(reply, InvalidArgument("subject", "name a queue or a session"));
  }
}

Result<pb::WatchResponse> BrokerImpl::Snapshot(const pb::WatchRequest& request) {
  pb::WatchResponse response;
  response.set_at_unix_ms(now.unix_ms);
  if (request.queue().empty()) {
    for (const auto& [name, lane] : lanes_) {
      if (static_cast<uint64_t>(response.queues_size()) == registry::limit::kMaxPageSize) break;
      FillQueue(*lane, response.add_queues());
    }
  } else {
    auto lane = FindLane(request.queue(), "queue");
    if (!lane) return lane.error();
    FillQueue(**lane, response.add_queues());
  }
  const auto stats = store->stats();
  pb::BrokerStats* broker = response.mutable_broker();
  broker->set_uptime_ms(static_cast<uint64_t>((now.mono - started_at_) / kNanosPerMilli));
  broker->set_resident_memory_bytes(ResidentMemoryBytes());
  broker->set_memory_budget_bytes(budget_.limit_bytes());
  broker->set_memory_used_bytes(budget_.used_bytes());
  broker->set_disk_free_bytes(disk_free_bytes_);
  broker->set_store_bytes(stats.live_bytes);
  broker->set_commits_total(stats.commits_total);
  broker->set_syncs_total(stats.syncs_total);
  broker->set_sessions(static_cast<uint32_t>(streams_.size()));
  if (options_.connections) {
    broker->set_connections(static_cast<uint32_t>(options_.connections()));
  }
  broker->set_version(kVersion);
  broker->set_draining(draining());
  return response;
}

Broker::Observed BrokerImpl::Observe() const {
  Observed observed;
  const auto stats = store->stats();
  observed.sync_seconds.Add(stats.sync_seconds);
  observed.commit_records.Add(stats.commit_records);
  for (const auto& [name, lane] : lanes_) {
    observed.delivery_seconds.emplace_back(name, &lane->consumers().delivery_seconds());
  }
  return observed;
}

}  // namespace spillway::runtime
