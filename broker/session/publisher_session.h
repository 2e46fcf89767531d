// A producer's stream: frames in, calls of the lane's handle; the lane's answers,
// frames out.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "broker/runtime/broker.h"
#include "broker/session/stream_session.h"

namespace spillway::session {

// See StreamSession. The lane judges credit and sequence; here is judged what a
// single frame says, and when.
class PublisherSession final : public StreamSession, private runtime::PublisherSink {
 public:
  PublisherSession(const SessionOptions& options, runtime::Broker* broker, Host* host,
                   std::string peer, const Now& now);

 private:
  const Numbers& numbers() const override;
  Account account() const override;
  void Handle(const wire::FrameField& field, const wire::Buffer& frame) override;
  void DropHandle() override { handle_.reset(); }

  void HandleOpen(const wire::FrameField& field);
  void HandlePublish(const wire::Buffer& frame);
  void HandleDemand(const wire::FrameField& field);
  void HandleClose(const wire::FrameField& field);

  void OnOpened(const runtime::PublisherOpened& opened) override;
  void OnConfirm(std::span<const runtime::ConfirmRun> runs, Durability durability,
                 const runtime::GrantOut* grant) override;
  void OnGrant(const runtime::GrantOut& grant) override;
  void OnRefuse(uint64_t first_sequence, uint64_t count, const Error& error) override;
  void OnTuning(uint64_t revision, const queue::Tuning& tuning) override;
  void OnDrain(const runtime::DrainOut& drain) override;
  void OnClosed(const Error& error) override { EndByLane(error); }
  void OnFinished() override { EndByLane(std::nullopt); }

  runtime::Broker* const broker_;
  std::unique_ptr<runtime::Publisher> handle_;
};

}  // namespace spillway::session
