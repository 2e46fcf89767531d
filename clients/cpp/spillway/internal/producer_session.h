// A producer's stream: batches, credit, confirmations.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "clients/cpp/spillway/internal/publish_log.h"
#include "clients/cpp/spillway/internal/session.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::client::internal {

// Thread-safe. Callers that wait for credit are admitted first come, first served.
class ProducerSession final : public Session {
 public:
  ProducerSession(std::shared_ptr<Core> core, ProducerOptions options);

  // Waits for credit, then takes the message over.
  Status Publish(const Message& message, PublishCallback done, Timeout timeout);
  // Takes it over if there is credit and nobody waits. False: not now.
  Result<bool> TryPublish(const Message& message, PublishCallback done);
  Status PublishBatch(const EncodedBatch& batch, BatchCallback done, Timeout timeout);
  // Waits until everything that was taken over is answered.
  Status Flush(Timeout timeout);

  Credit credit() const;
  std::optional<Blocked> blocked() const;
  uint64_t unconfirmed() const;
  std::string producer_id() const;
  uint64_t epoch() const;
  Credit sent() const;

 private:
  struct Waiter {
    Credit cost;
    uint64_t first_record_bytes = 0;
    std::condition_variable ready;
  };

  grpc::ByteBuffer OpenFrameLocked() override;
  Status ReceiveLocked(std::string_view bytes, grpc::Slice frame) override;
  std::optional<grpc::ByteBuffer> NextFrameLocked() override;
  grpc::ByteBuffer PingFrameLocked(const v1::Ping& ping) override;
  grpc::ByteBuffer PongFrameLocked(const v1::Pong& pong) override;
  grpc::ByteBuffer CloseFrameLocked() override;
  bool IdleLocked() const override { return log_.unanswered() == 0; }
  void BrokenLocked() override;
  void FailedLocked(const Error& error) override;
  void Announce(std::unique_lock<std::mutex>* lock) override;
  void CountersLocked(v1::Ping* ping) const override;

  Status OpenedFrameLocked(const v1::PublishOpened& opened);
  Status GrantedLocked(const v1::Grant& grant);
  void ConfirmedLocked(const v1::Confirm& confirm);
  // Why nothing can be taken over at all, if so.
  std::optional<Error> RefusalLocked() const;
  // Waits in line until `admit` takes something over; it returns whether it did.
  template <typename AdmitFn>
  Status Admit(std::unique_lock<std::mutex>* lock, Waiter* waiter, Timeout timeout, AdmitFn admit);
  void WakeLocked();
  void AppendedLocked();
  Credit WaitingLocked() const;

  const ProducerOptions options_;
  std::string producer_id_;
  PublishLog log_;
  std::deque<Waiter*> waiters_;
  Clock::time_point waiting_since_;
  std::vector<Answer> answers_;
  bool announcing_ = false;
  v1::PublishResponse response_;  // reused, so that parsing allocates nothing
  v1::Grant last_grant_;
  Clock::time_point last_grant_at_;
  bool lingering_ = false;
};

}  // namespace spillway::client::internal
