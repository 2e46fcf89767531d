// A consumer's or reader's stream: frames in, calls of the lane's handle; the
// lane's answers, frames out.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "broker/runtime/broker.h"
#include "broker/session/stream_session.h"

namespace spillway::session {

// See StreamSession. The lane judges credit; here is judged what a single frame
// says, and when.
class ConsumerSession final : public StreamSession, private runtime::ConsumerSink {
 public:
  ConsumerSession(const SessionOptions& options, runtime::Broker* broker, Host* host,
                  std::string peer, const Now& now);

 private:
  const Numbers& numbers() const override;
  Account account() const override;
  void Handle(const wire::FrameField& field, const wire::Buffer& frame) override;
  void DropHandle() override { handle_.reset(); }
  void OnRoom() override;

  void HandleOpen(const wire::FrameField& field);
  void HandleSettle(const wire::FrameField& field);
  void HandleGrant(const wire::FrameField& field);
  void HandleExtend(const wire::FrameField& field);
  void HandleClose(const wire::FrameField& field);
  void TakeGrant(const pb::Grant& grant, std::string_view field);
  // Settles and extends are for members of a group.
  bool RefuseReader(std::string_view what);

  bool CanDeliver() const override;
  void OnOpened(const runtime::ConsumerOpened& opened) override;
  void OnDelivery(wire::Delivery delivery) override;
  void OnRevoke(std::span<const OffsetRange> ranges, pb::RevokeReason reason) override;
  void OnGap(std::span<const OffsetRange> ranges, pb::GapReason reason) override;
  void OnEnd(pb::EndReason reason, Offset next) override;
  void OnTuning(uint64_t revision, const queue::Tuning& tuning) override;
  void OnDrain(const runtime::DrainOut& drain) override;
  void OnClosed(const Error& error) override { EndByLane(error); }
  void OnFinished() override { EndByLane(std::nullopt); }

  runtime::Broker* const broker_;
  std::unique_ptr<runtime::Consumer> handle_;
  bool reader_ = false;
  mutable bool refused_delivery_ = false;  // CanDeliver said no since OnRoom
  pb::Settle settle_;                      // reused
  std::vector<OffsetRange> ranges_;        // reused
};

}  // namespace spillway::session
