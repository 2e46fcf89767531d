#include "broker/service/watch.h"

#include <algorithm>
#include <string>

#include "broker/base/registry.gen.h"
#include "broker/service/unary.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::service {
namespace {

namespace pb = ::spillway::v1;

class WatchHandler final : public OneRequestHandler<pb::WatchRequest> {
 public:
  using OneRequestHandler::OneRequestHandler;

  void Pump() override {
    // A peer that does not read skips snapshots; none waits for it.
    if (!due_ || call_->writing()) return;
    due_ = false;
    Result<pb::WatchResponse> snapshot = call_->shard()->broker()->Snapshot(request_);
    if (!snapshot) return call_->Finish(snapshot.error());
    call_->Write(MessageFrame(*snapshot));
  }

  MonoNanos OnTimer(const Now& now) override {
    due_ = true;
    call_->MarkDirty();
    next_ = std::max(next_ + interval_, now.mono);
    return next_;
  }

 private:
  void Run(const pb::WatchRequest& request) override {
    namespace limit = registry::limit;
    uint64_t interval = request.interval_ms();
    if (interval == 0) interval = limit::kDefaultWatchIntervalMs;
    if (interval < limit::kMinWatchIntervalMs || interval > limit::kMaxWatchIntervalMs) {
      return call_->Finish(InvalidArgument(
          "interval_ms", "interval_ms must be " + std::to_string(limit::kMinWatchIntervalMs) +
                             " to " + std::to_string(limit::kMaxWatchIntervalMs)));
    }
    request_ = request;
    interval_ = static_cast<MonoNanos>(interval) * kNanosPerMilli;
    next_ = call_->shard()->now().mono;
    call_->StartTimer(OnTimer(call_->shard()->now()));
  }

  pb::WatchRequest request_;
  MonoNanos interval_ = 0;
  MonoNanos next_ = 0;
  bool due_ = false;
};

}  // namespace

std::unique_ptr<Handler> MakeWatch(Call* call) { return std::make_unique<WatchHandler>(call); }

}  // namespace spillway::service
