#include "broker/service/health.h"

#include <algorithm>
#include <optional>

#include "broker/service/unary.h"
#include "grpc/health/v1/health.pb.h"

namespace spillway::service {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

namespace {

HealthCheckResponse::ServingStatus Word(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

class HealthCheckHandler final : public OneRequestHandler<HealthCheckRequest> {
 public:
  HealthCheckHandler(Call* call, const Health* health) : OneRequestHandler(call), health_(health) {}
  void Pump() override {}

 private:
  void Run(const HealthCheckRequest& request) override {
    if (!Health::Knows(request.service())) {
      return call_->Finish(Error{.kind = ErrorKind::kNotFound,
                                 .message = "no such service: " + request.service(),
                                 .field = "service"});
    }
    HealthCheckResponse response;
    response.set_status(Word(health_->serving()));
    call_->WriteAndFinish(MessageFrame(response));
  }

  const Health* const health_;
};

}  // namespace

// Sends the status at once and whenever it changes, until the peer cancels.
class HealthWatchHandler final : public OneRequestHandler<HealthCheckRequest> {
 public:
  HealthWatchHandler(Call* call, Health* health) : OneRequestHandler(call), health_(health) {
    health_->watchers_.push_back(this);
  }
  ~HealthWatchHandler() override { std::erase(health_->watchers_, this); }

  void Changed() { call_->MarkDirty(); }

  void Pump() override {
    if (!started_ || call_->writing()) return;
    const auto status = known_ ? Word(health_->serving()) : HealthCheckResponse::SERVICE_UNKNOWN;
    if (sent_ == status) return;
    sent_ = status;
    HealthCheckResponse response;
    response.set_status(status);
    call_->Write(MessageFrame(response));
  }

 private:
  void Run(const HealthCheckRequest& request) override {
    started_ = true;
    known_ = Health::Knows(request.service());
    call_->MarkDirty();
  }

  Health* const health_;
  bool started_ = false;
  bool known_ = false;
  std::optional<HealthCheckResponse::ServingStatus> sent_;
};

bool Health::Knows(std::string_view service) {
  return service.empty() || service == "spillway.v1.Broker" || service == "spillway.v1.Admin";
}

void Health::Set(bool serving) {
  if (serving == serving_) return;
  serving_ = serving;
  for (HealthWatchHandler* watcher : watchers_) watcher->Changed();
}

std::unique_ptr<Handler> Health::MakeCheck(Call* call) {
  return std::make_unique<HealthCheckHandler>(call, this);
}

std::unique_ptr<Handler> Health::MakeWatch(Call* call) {
  return std::make_unique<HealthWatchHandler>(call, this);
}

}  // namespace spillway::service
