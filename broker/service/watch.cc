#include "broker/service/watch.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

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
    if (call_->writing()) return;
    if (*answer_) {
      const Result<pb::WatchResponse> snapshot = *std::exchange(*answer_, std::nullopt);
      if (!snapshot) return call_->Finish(snapshot.error());
      asked_ = false;
      return call_->Write(MessageFrame(*snapshot));
    }
    if (due_ && !asked_) Ask();
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

  void Ask() {
    due_ = false;
    asked_ = true;
    // The call may be gone before the broker answers; then the answer is dropped.
    call_->shard()->broker()->Snapshot(
        request_, [slot = std::weak_ptr(answer_), call = call_](Result<pb::WatchResponse> answer) {
          if (const auto kept = slot.lock()) {
            *kept = std::move(answer);
            call->MarkDirty();
          }
        });
  }

  using Slot = std::optional<Result<pb::WatchResponse>>;
  const std::shared_ptr<Slot> answer_ = std::make_shared<Slot>();
  pb::WatchRequest request_;
  MonoNanos interval_ = 0;
  MonoNanos next_ = 0;
  bool due_ = false;
  bool asked_ = false;
};

}  // namespace

std::unique_ptr<Handler> MakeWatch(Call* call) { return std::make_unique<WatchHandler>(call); }

}  // namespace spillway::service
