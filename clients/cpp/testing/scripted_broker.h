// A broker in this process whose every stream plays a script; for tests of clients.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "clients/cpp/spillway/options.h"
#include "spillway/v1/broker.grpc.pb.h"

namespace spillway::client::testing {

// Scripts run on threads of the server, one for each stream, in the order in which
// streams come; the last one is used for all further streams.
class ScriptedBroker final : public v1::Broker::Service {
 public:
  using PublishStream = grpc::ServerReaderWriter<v1::PublishResponse, v1::PublishRequest>;
  using ConsumeStream = grpc::ServerReaderWriter<v1::ConsumeResponse, v1::ConsumeRequest>;
  using PublishScript = std::function<grpc::Status(PublishStream*)>;
  using ConsumeScript = std::function<grpc::Status(ConsumeStream*)>;

  explicit ScriptedBroker(std::deque<PublishScript> publish) : publish_(std::move(publish)) {
    Start();
  }
  explicit ScriptedBroker(std::deque<ConsumeScript> consume) : consume_(std::move(consume)) {
    Start();
  }
  ~ScriptedBroker() override { server_->Shutdown(std::chrono::system_clock::now()); }

  // Options of a client that reconnects without long waits.
  ClientOptions Options() const {
    ClientOptions options;
    options.address = "127.0.0.1:" + std::to_string(port_);
    options.reconnect_base = milliseconds(1);
    options.reconnect_max = milliseconds(5);
    return options;
  }

  grpc::Status Publish(grpc::ServerContext* context, PublishStream* stream) override {
    const grpc::Status status = Next(&publish_)(stream);
    return Trailed(context, status);
  }
  grpc::Status Consume(grpc::ServerContext* context, ConsumeStream* stream) override {
    const grpc::Status status = Next(&consume_)(stream);
    return Trailed(context, status);
  }

  // A status that Publish or Consume turns into a typed error.
  static grpc::Status Typed(v1::ErrorKind kind, const std::string& message = "",
                            uint64_t retry_after_ms = 0) {
    v1::Error error;
    error.set_kind(kind);
    error.set_message(message);
    error.set_retry_after_ms(retry_after_ms);
    return {grpc::StatusCode::FAILED_PRECONDITION, message, error.SerializeAsString()};
  }
  // How a broken connection looks to the client.
  static grpc::Status Broken() { return {grpc::StatusCode::UNAVAILABLE, "broken"}; }

 private:
  void Start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  static grpc::Status Trailed(grpc::ServerContext* context, const grpc::Status& status) {
    if (status.error_details().empty()) return status;
    context->AddTrailingMetadata("spillway-error-bin", status.error_details());
    return {status.error_code(), status.error_message()};
  }
  template <typename Script>
  Script Next(std::deque<Script>* scripts) {
    const std::lock_guard lock(mu_);
    Script script = scripts->front();
    if (scripts->size() > 1) scripts->pop_front();
    return script;
  }

  std::mutex mu_;
  std::deque<PublishScript> publish_;
  std::deque<ConsumeScript> consume_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace spillway::client::testing
