// What operators and tools call.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients/cpp/spillway/error.h"
#include "clients/cpp/spillway/options.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::client {

namespace internal {
class Core;
}  // namespace internal

// The Admin service, with typed errors and pages put together. The messages are
// those of the protocol (proto/spillway/v1/admin.proto). Thread-safe.
class Admin {
 public:
  // A call that takes longer fails with kTimedOut.
  void set_timeout(milliseconds timeout) { timeout_ = timeout; }

  Result<v1::Queue> CreateQueue(const std::string& name, const v1::QueueTuning& tuning);
  // `expected_revision` 0: whatever it is.
  Result<v1::Queue> UpdateQueue(const std::string& name, const v1::QueueTuning& tuning,
                                uint64_t expected_revision = 0);
  Result<v1::Queue> GetQueue(const std::string& name);
  Result<std::vector<v1::Queue>> ListQueues(const std::string& prefix = "");
  Status DeleteQueue(const std::string& name, uint64_t expected_revision = 0);
  // Removes what is below `before_offset`, or everything.
  Result<v1::PurgeQueueResponse> PurgeQueue(const std::string& name,
                                            std::optional<uint64_t> before_offset);
  Result<std::vector<v1::PlacedRecord>> Peek(const std::string& queue, const Start& start,
                                             uint32_t max_messages);

  Result<std::vector<v1::Group>> ListGroups(const std::string& queue);
  Result<v1::Group> SeekGroup(const std::string& queue, const std::string& group,
                              const Start& target);
  Status DeleteGroup(const std::string& queue, const std::string& group);
  // At most `max` of them, from an offset on.
  Result<std::vector<v1::ParkedRecord>> ListParked(const std::string& queue,
                                                   const std::string& group, uint64_t from_offset,
                                                   uint64_t max);
  // No ranges: all. Returns how many.
  Result<uint64_t> ReleaseParked(const std::string& queue, const std::string& group,
                                 const std::vector<OffsetRange>& ranges);

  Result<std::vector<v1::Session>> ListSessions(const std::string& queue = "");
  Status CloseSession(const std::string& id);

  Result<v1::ExplainResponse> ExplainQueue(const std::string& queue);
  Result<v1::ExplainResponse> ExplainSession(const std::string& session);
  // Calls `take` for each snapshot until it returns false or the stream ends.
  Status Watch(const std::string& queue, milliseconds interval,
               const std::function<bool(const v1::WatchResponse&)>& take);

 private:
  friend class Client;
  explicit Admin(std::shared_ptr<internal::Core> core) : core_(std::move(core)) {}
  std::shared_ptr<internal::Core> core_;
  milliseconds timeout_{30000};
};

}  // namespace spillway::client
