// What the runtime keeps of one client stream.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "broker/base/types.h"
#include "broker/runtime/shared.h"
#include "spillway/v1/admin.pb.h"

namespace spillway::runtime {

namespace pb = ::spillway::v1;

// The part that producers', consumers' and readers' streams share. Owned by the
// lane's set while it is open and by the session's handle; whichever goes last
// frees it.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  // An operator ends the stream.
  virtual void CloseByOperator() = 0;
  virtual pb::Session Describe() const = 0;
  virtual void Explain(MonoNanos now, pb::ExplainResponse* out) const = 0;

  std::string id;
  std::string queue;
  std::string client;
  std::string peer;
  UnixMillis opened_at = 0;
  uint64_t epoch = 0;

 protected:
  pb::Session DescribeCommon(pb::SessionKind kind, const std::string& name) const {
    pb::Session s;
    s.set_id(id);
    s.set_queue(queue);
    s.set_kind(kind);
    s.set_name(name);
    s.set_client(client);
    s.set_peer(peer);
    s.set_opened_at_unix_ms(opened_at);
    s.set_epoch(epoch);
    return s;
  }
};

// Streams by id, for administration. Weak: a stream that went away is dropped
// when it is met. All shards' streams together are `total`, at most `most`.
class StreamRegistry {
 public:
  StreamRegistry(std::atomic<uint32_t>* total, uint32_t most) : total_(total), most_(most) {}
  // False if there are too many.
  bool Add(const std::shared_ptr<Stream>& stream) {
    if (!CountOneMore(*total_, most_)) return false;
    streams_[stream->id] = stream;
    return true;
  }
  void Remove(const std::string& id) {
    if (streams_.erase(id) > 0) total_->fetch_sub(1, std::memory_order_relaxed);
  }
  std::shared_ptr<Stream> Find(const std::string& id) const {
    auto it = streams_.find(id);
    return it == streams_.end() ? nullptr : it->second.lock();
  }
  template <typename F>
  void ForEach(F f) const {
    for (const auto& [id, weak] : streams_) {
      if (auto stream = weak.lock()) f(*stream);
    }
  }

 private:
  std::atomic<uint32_t>* const total_;
  const uint32_t most_;
  std::unordered_map<std::string, std::weak_ptr<Stream>> streams_;
};

}  // namespace spillway::runtime
