// A stream of deliveries, for a group or for a reader.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients/cpp/spillway/delivery.h"
#include "clients/cpp/spillway/internal/in_flight.h"
#include "clients/cpp/spillway/internal/receive_window.h"
#include "clients/cpp/spillway/internal/session.h"
#include "clients/cpp/spillway/internal/unanswered.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::client::internal {

// A ConsumeRequest{settle}; a grant of `limit` in `epoch` rides on it, if one is due.
grpc::ByteBuffer SettleFrame(const Settled& settled, uint64_t epoch,
                             const std::optional<Credit>& limit);

// Thread-safe.
class ConsumerSession final : public Session {
 public:
  ConsumerSession(std::shared_ptr<Core> core, ConsumerOptions options);
  ConsumerSession(std::shared_ptr<Core> core, const ReaderOptions& options);

  // The next batch; none after `timeout`, or at a reader's end.
  Result<std::optional<DeliveryBatch>> Next(Timeout timeout);
  // Settles what of `ranges` is in flight; of one delivery only, if it is given.
  void Settle(const std::vector<OffsetRange>& ranges, std::optional<uint64_t> delivery,
              SettleAction action, const SettleOptions& options);
  void Extend(const std::vector<OffsetRange>& ranges, std::optional<uint64_t> delivery);
  // A batch is gone.
  void Finished(uint64_t delivery, uint64_t epoch, const FrameIndex& index, bool released);

  // Abandons the stream and what nobody has taken: its handle is gone.
  void Discard();

  // Whether the reader has reached its stop.
  bool ended() const;
  uint64_t next_offset() const;
  uint64_t start_offset() const;
  uint64_t tail_offset() const;
  std::vector<OffsetRange> held() const;

 private:
  // Something to tell the application, in order.
  struct Event {
    DeliveryBatch batch;
    std::vector<OffsetRange> ranges;
    RevokeReason revoke = RevokeReason::kUnspecified;
    GapReason gap = GapReason::kUnspecified;
    bool is_gap = false;
  };

  grpc::ByteBuffer OpenFrameLocked() override;
  Status ReceiveLocked(std::string_view bytes, grpc::Slice frame) override;
  std::optional<grpc::ByteBuffer> NextFrameLocked() override;
  grpc::ByteBuffer PingFrameLocked(const v1::Ping& ping) override;
  grpc::ByteBuffer PongFrameLocked(const v1::Pong& pong) override;
  grpc::ByteBuffer CloseFrameLocked() override;
  bool IdleLocked() const override;
  void BrokenLocked() override;
  void FinishedLocked() override { unanswered_.Finished(); }
  void PingingLocked() override { unanswered_.Ping(); }
  void AnsweredLocked() override { unanswered_.Pong(); }
  bool WantsPongLocked() const override { return unanswered_.wants_pong(); }
  void FailedLocked(const Error& error) override;
  void Announce(std::unique_lock<std::mutex>* lock) override;
  void CountersLocked(v1::Ping* ping) const override;

  void DeliveredLocked(std::shared_ptr<const FrameIndex> index, grpc::Slice frame);
  Status OpenedFrameLocked(const v1::ConsumeOpened& opened);
  void RevokedLocked(const v1::Revoke& revoke);
  void GapLocked(const v1::Gap& gap);
  void EndLocked(uint64_t next_offset);
  std::vector<OffsetRange> HeldLocked();
  std::optional<Settled> NextSettleLocked();
  void TakeLocked(const OffsetRange& range, std::optional<uint64_t> delivery,
                  InFlight::Taken* taken);

  const bool reader_;
  ConsumerOptions options_;  // what both kinds share, and the group's
  Stop stop_;
  const uint64_t rate_ = 0;
  ReceiveWindow window_;
  InFlight in_flight_;
  std::deque<Settled> settles_;  // not sent
  Unanswered unanswered_;        // sent
  std::vector<OffsetRange> extends_;
  std::deque<DeliveryBatch> ready_;  // for Next
  std::deque<Event> events_;         // for callbacks
  uint64_t epoch_ = 0;
  uint64_t last_delivery_ = 0;
  // Readers: where to resume. Groups: after the highest record seen.
  uint64_t next_offset_ = 0;
  uint64_t start_offset_ = 0;
  uint64_t tail_offset_ = 0;
  bool ever_opened_ = false;
  bool ended_ = false;
};

}  // namespace spillway::client::internal
