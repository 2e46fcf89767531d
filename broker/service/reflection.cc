#include "broker/service/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <deque>
#include <set>
#include <string>

#include "broker/service/unary.h"
#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::service {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

// Requests of one stream that may wait for their answers to be read.
constexpr size_t kMaxWaiting = 64;

// The file and all that it imports, each once, as tools expect it.
void AddFiles(const FileDescriptor* file, std::set<std::string>* seen,
              ServerReflectionResponse* response) {
  if (!seen->insert(file->name()).second) return;
  google::protobuf::FileDescriptorProto proto;
  file->CopyTo(&proto);
  response->mutable_file_descriptor_response()->add_file_descriptor_proto(
      proto.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) {
    AddFiles(file->dependency(i), seen, response);
  }
}

ServerReflectionResponse Answer(const ServerReflectionRequest& request) {
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  const DescriptorPool* pool = DescriptorPool::generated_pool();
  const FileDescriptor* file = nullptr;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kListServices:
      for (const char* name : {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                               "spillway.v1.Admin", "spillway.v1.Broker"}) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      return response;
    case ServerReflectionRequest::kFileByFilename:
      file = pool->FindFileByName(request.file_by_filename());
      break;
    case ServerReflectionRequest::kFileContainingSymbol:
      file = pool->FindFileContainingSymbol(request.file_containing_symbol());
      break;
    default:
      break;
  }
  if (file != nullptr) {
    std::set<std::string> seen;
    AddFiles(file, &seen, &response);
  } else {
    auto* error = response.mutable_error_response();
    error->set_error_code(5);  // NOT_FOUND
    error->set_error_message("not found");
  }
  return response;
}

class ReflectionHandler final : public Handler {
 public:
  explicit ReflectionHandler(Call* call) : call_(call) {
    // Descriptors register when their files are linked; make sure that they are.
    spillway::v1::Queue::descriptor();
    grpc::health::v1::HealthCheckRequest::descriptor();
  }

  void OnMessage(const wire::Buffer& message) override {
    ServerReflectionRequest request;
    if (std::optional<Error> error = session::ParseRequest(message.view(), &request)) {
      return call_->Finish(error);
    }
    if (waiting_.size() >= kMaxWaiting) {
      return call_->Finish(Error{.kind = ErrorKind::kSlowReader,
                                 .message = "more answers wait than the peer reads",
                                 .limit = kMaxWaiting});
    }
    waiting_.push_back(std::move(request));
    call_->MarkDirty();
  }
  void OnHalfClosed() override {
    half_closed_ = true;
    call_->MarkDirty();
  }
  void Pump() override {
    if (call_->writing()) return;
    if (!waiting_.empty()) {
      session::OutFrame frame = MessageFrame(Answer(waiting_.front()));
      waiting_.pop_front();
      call_->Write(std::move(frame));
    } else if (half_closed_) {
      call_->Finish(std::nullopt);
    }
  }

 private:
  Call* const call_;
  std::deque<ServerReflectionRequest> waiting_;
  bool half_closed_ = false;
};

}  // namespace

std::unique_ptr<Handler> MakeReflection(Call* call) {
  return std::make_unique<ReflectionHandler>(call);
}

}  // namespace spillway::service
