// One thread that completes gRPC operations and runs timers.
#pragma once

#include <grpcpp/completion_queue.h>

#include <chrono>
#include <functional>
#include <memory>

namespace spillway::client::internal {

using Clock = std::chrono::steady_clock;

// Thread-safe. Everything it calls runs on its thread.
class IoLoop {
 public:
  // What an operation's tag points to.
  class Tag {
   public:
    virtual void Complete(bool ok) = 0;

   protected:
    ~Tag() = default;
  };
  using TimerId = uint64_t;

  IoLoop();
  // REQUIRES: no operation is outstanding, and none is started any more.
  ~IoLoop();
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  grpc::CompletionQueue* queue();
  // Runs `what` at that time; never within the call.
  TimerId At(Clock::time_point when, std::function<void()> what);
  // Without effect if it has run or is running.
  void Cancel(TimerId id);
  void Post(std::function<void()> what) { At(Clock::time_point::min(), std::move(what)); }
  bool OnThread() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace spillway::client::internal
