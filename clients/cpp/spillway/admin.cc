#include "clients/cpp/spillway/admin.h"

#include <grpcpp/client_context.h>

#include <utility>

#include "clients/cpp/spillway/internal/core.h"
#include "clients/cpp/spillway/internal/error_proto.h"
#include "clients/cpp/spillway/internal/start.h"
#include "spillway/v1/admin.grpc.pb.h"

namespace spillway::client {
namespace {

using Stub = v1::Admin::Stub;

// One unary call; `method` is a member of the stub.
template <typename Request, typename Response>
Result<Response> Call(internal::Core* core, milliseconds timeout,
                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      const Request& request) {
  Stub stub(core->channel());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return internal::FromCall(status, context);
  return response;
}

}  // namespace

Result<v1::Queue> Admin::CreateQueue(const std::string& name, const v1::QueueTuning& tuning) {
  v1::CreateQueueRequest request;
  request.set_name(name);
  *request.mutable_tuning() = tuning;
  auto response = Call(core_.get(), timeout_, &Stub::CreateQueue, request);
  if (!response.ok()) return response.error();
  return response->queue();
}

Result<v1::Queue> Admin::UpdateQueue(const std::string& name, const v1::QueueTuning& tuning,
                                     uint64_t expected_revision) {
  v1::UpdateQueueRequest request;
  request.set_name(name);
  request.set_expected_revision(expected_revision);
  *request.mutable_tuning() = tuning;
  auto response = Call(core_.get(), timeout_, &Stub::UpdateQueue, request);
  if (!response.ok()) return response.error();
  return response->queue();
}

Result<v1::Queue> Admin::GetQueue(const std::string& name) {
  v1::GetQueueRequest request;
  request.set_name(name);
  auto response = Call(core_.get(), timeout_, &Stub::GetQueue, request);
  if (!response.ok()) return response.error();
  return response->queue();
}

Result<std::vector<v1::Queue>> Admin::ListQueues(const std::string& prefix) {
  v1::ListQueuesRequest request;
  request.set_prefix(prefix);
  std::vector<v1::Queue> queues;
  do {
    auto response = Call(core_.get(), timeout_, &Stub::ListQueues, request);
    if (!response.ok()) return response.error();
    queues.insert(queues.end(), response->queues().begin(), response->queues().end());
    request.set_page_token(response->next_page_token());
  } while (!request.page_token().empty());
  return queues;
}

Status Admin::DeleteQueue(const std::string& name, uint64_t expected_revision) {
  v1::DeleteQueueRequest request;
  request.set_name(name);
  request.set_expected_revision(expected_revision);
  auto response = Call(core_.get(), timeout_, &Stub::DeleteQueue, request);
  return response.ok() ? Ok() : Status(response.error());
}

Result<v1::PurgeQueueResponse> Admin::PurgeQueue(const std::string& name,
                                                 std::optional<uint64_t> before_offset) {
  v1::PurgeQueueRequest request;
  request.set_name(name);
  if (before_offset) request.set_before_offset(*before_offset);
  return Call(core_.get(), timeout_, &Stub::PurgeQueue, request);
}

Result<std::vector<v1::PlacedRecord>> Admin::Peek(const std::string& queue, const Start& start,
                                                  uint32_t max_messages) {
  v1::PeekRequest request;
  request.set_queue(queue);
  internal::SetStart(start, request.mutable_start());
  request.set_max_messages(max_messages);
  auto response = Call(core_.get(), timeout_, &Stub::Peek, request);
  if (!response.ok()) return response.error();
  return std::vector<v1::PlacedRecord>(response->records().begin(), response->records().end());
}

Result<std::vector<v1::Group>> Admin::ListGroups(const std::string& queue) {
  v1::ListGroupsRequest request;
  request.set_queue(queue);
  auto response = Call(core_.get(), timeout_, &Stub::ListGroups, request);
  if (!response.ok()) return response.error();
  return std::vector<v1::Group>(response->groups().begin(), response->groups().end());
}

Result<v1::Group> Admin::SeekGroup(const std::string& queue, const std::string& group,
                                   const Start& target) {
  v1::SeekGroupRequest request;
  request.set_queue(queue);
  request.set_group(group);
  internal::SetStart(target, request.mutable_target());
  auto response = Call(core_.get(), timeout_, &Stub::SeekGroup, request);
  if (!response.ok()) return response.error();
  return response->group();
}

Status Admin::DeleteGroup(const std::string& queue, const std::string& group) {
  v1::DeleteGroupRequest request;
  request.set_queue(queue);
  request.set_group(group);
  auto response = Call(core_.get(), timeout_, &Stub::DeleteGroup, request);
  return response.ok() ? Ok() : Status(response.error());
}

Result<std::vector<v1::ParkedRecord>> Admin::ListParked(const std::string& queue,
                                                        const std::string& group,
                                                        uint64_t from_offset, uint64_t max) {
  v1::ListParkedRequest request;
  request.set_queue(queue);
  request.set_group(group);
  request.set_from_offset(from_offset);
  std::vector<v1::ParkedRecord> records;
  while (records.size() < max) {
    request.set_max_messages(static_cast<uint32_t>(
        std::min<uint64_t>(max - records.size(), registry::limit::kMaxPageSize)));
    auto response = Call(core_.get(), timeout_, &Stub::ListParked, request);
    if (!response.ok()) return response.error();
    records.insert(records.end(), response->records().begin(), response->records().end());
    if (!response->has_next_offset()) break;
    request.set_from_offset(response->next_offset());
  }
  return records;
}

Result<uint64_t> Admin::ReleaseParked(const std::string& queue, const std::string& group,
                                      const std::vector<OffsetRange>& ranges) {
  v1::ReleaseParkedRequest request;
  request.set_queue(queue);
  request.set_group(group);
  for (const OffsetRange& range : ranges) {
    v1::OffsetRange* out = request.add_ranges();
    out->set_first_offset(range.first_offset);
    out->set_count(range.count);
  }
  auto response = Call(core_.get(), timeout_, &Stub::ReleaseParked, request);
  if (!response.ok()) return response.error();
  return response->released_messages();
}

Result<std::vector<v1::Session>> Admin::ListSessions(const std::string& queue) {
  v1::ListSessionsRequest request;
  request.set_queue(queue);
  std::vector<v1::Session> sessions;
  do {
    auto response = Call(core_.get(), timeout_, &Stub::ListSessions, request);
    if (!response.ok()) return response.error();
    sessions.insert(sessions.end(), response->sessions().begin(), response->sessions().end());
    request.set_page_token(response->next_page_token());
  } while (!request.page_token().empty());
  return sessions;
}

Status Admin::CloseSession(const std::string& id) {
  v1::CloseSessionRequest request;
  request.set_id(id);
  auto response = Call(core_.get(), timeout_, &Stub::CloseSession, request);
  return response.ok() ? Ok() : Status(response.error());
}

Result<v1::ExplainResponse> Admin::ExplainQueue(const std::string& queue) {
  v1::ExplainRequest request;
  request.set_queue(queue);
  return Call(core_.get(), timeout_, &Stub::Explain, request);
}

Result<v1::ExplainResponse> Admin::ExplainSession(const std::string& session) {
  v1::ExplainRequest request;
  request.set_session(session);
  return Call(core_.get(), timeout_, &Stub::Explain, request);
}

Status Admin::Watch(const std::string& queue, milliseconds interval,
                    const std::function<bool(const v1::WatchResponse&)>& take) {
  v1::WatchRequest request;
  request.set_queue(queue);
  request.set_interval_ms(static_cast<uint64_t>(interval.count()));
  Stub stub(core_->channel());
  grpc::ClientContext context;
  const auto reader = stub.Watch(&context, request);
  v1::WatchResponse response;
  bool wanted = true;
  while (wanted && reader->Read(&response)) wanted = take(response);
  if (!wanted) context.TryCancel();
  const grpc::Status status = reader->Finish();
  return status.ok() || !wanted ? Ok() : Status(internal::FromCall(status, context));
}

}  // namespace spillway::client
