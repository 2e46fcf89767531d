// grpc.health.v1.Health on the shard's thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "broker/service/call.h"

namespace spillway::service {

class HealthWatchHandler;

// Whether the broker serves, and who wants to know when that changes.
// Thread-safety: none; all on the shard's thread.
class Health {
 public:
  bool serving() const { return serving_; }
  void Set(bool serving);

  std::unique_ptr<Handler> MakeCheck(Call* call);
  std::unique_ptr<Handler> MakeWatch(Call* call);

  // Whether the broker has such a service; "" is the whole broker.
  static bool Knows(std::string_view service);

 private:
  friend class HealthWatchHandler;
  bool serving_ = false;
  std::vector<HealthWatchHandler*> watchers_;
};

}  // namespace spillway::service
