// What the streams of producers and consumers have in common: life, frames out,
// the end.
#pragma once

#include <optional>
#include <string>

#include "broker/base/error.h"
#include "broker/base/types.h"
#include "broker/session/codec.h"
#include "broker/session/frame.h"
#include "broker/session/options.h"
#include "broker/session/outbox.h"
#include "broker/session/state.h"
#include "broker/wire/buffer.h"
#include "broker/wire/frame.h"

namespace spillway::session {

// What a session needs of the one who carries it.
class Host {
 public:
  virtual ~Host() = default;
  // There may be something to write, or the stream has ended: ask NextFrame
  // after the batch. May be called often.
  virtual void Dirty() = 0;
};

// A stream free of transport. The carrier calls OnFrame, OnHalfClosed, OnWritten
// and Tick as things happen, and after each batch of the broker asks NextFrame
// while no write is outstanding. Once it has no frame and ended() holds, the
// carrier finishes the stream with error(), or OK.
//
// Thread-safety: none; all calls come from the shard's thread.
class StreamSession {
 public:
  StreamSession(const SessionOptions& options, Host* host, std::string peer, const Now& now);
  virtual ~StreamSession() = default;
  StreamSession(const StreamSession&) = delete;
  StreamSession& operator=(const StreamSession&) = delete;

  void OnFrame(const wire::Buffer& frame, const Now& now);
  // The peer will send no more: it half-closed, or it is gone.
  void OnHalfClosed();
  // The frame that NextFrame gave has gone out.
  void OnWritten(const Now& now);
  // REQUIRES: no write outstanding.
  std::optional<OutFrame> NextFrame(const Now& now);
  // Checks the timers; returns when to call again at the latest.
  MonoNanos Tick(const Now& now);

  bool ended() const { return state_ == State::kEnded; }
  // Whether to finish at once, though a write is outstanding: the peer does not
  // read.
  bool abandoned() const { return abandoned_; }
  const std::optional<Error>& error() const { return error_; }
  State state() const { return state_; }

 protected:
  // Numbers of the frames that both kinds of stream know.
  struct Numbers {
    uint32_t last;
    uint32_t ping_in, pong_in;
    uint32_t ping_out, pong_out;
  };
  // The other side's account, for Ping and Pong.
  struct Account {
    uint64_t epoch = 0;
    Credit received;    // of what the peer sends
    Credit granted;     // to the peer
    Credit limit_seen;  // of what the peer granted
  };

  virtual const Numbers& numbers() const = 0;
  virtual Account account() const = 0;
  // A frame other than Ping and Pong; `frame` holds it whole.
  virtual void Handle(const wire::FrameField& field, const wire::Buffer& frame) = 0;
  // Destroys the handle of the runtime, if there is one.
  virtual void DropHandle() = 0;
  // Waiting bytes fell; deliveries may go on.
  virtual void OnRoom() {}

  // Takes the event or ends the stream with PROTOCOL; `what` names the frame.
  bool Advance(Event event, std::string_view what);
  // Ends the stream. By the lane: from within a sink, where the handle must live.
  void Fail(Error error);
  void EndByLane(std::optional<Error> error);
  void Push(uint32_t number, const google::protobuf::Message& message);
  // Parses a field, or ends the stream.
  bool Parse(const wire::FrameField& field, std::string_view name,
             google::protobuf::Message* message);
  void Dirty() { host_->Dirty(); }
  size_t waiting_bytes() const { return outbox_.bytes() + written_bytes_; }

  const SessionOptions& options_;
  const std::string peer_;
  Outbox outbox_;
  State state_ = State::kAwaitingOpen;

 private:
  void HandlePing(const wire::FrameField& field);
  void HandlePong(const wire::FrameField& field);
  void CheckOutbound();

  Host* const host_;
  std::optional<Error> error_;
  bool abandoned_ = false;
  bool half_closed_ = false;
  const MonoNanos born_;
  MonoNanos last_received_;
  MonoNanos last_sent_;
  std::optional<MonoNanos> write_since_;
  size_t written_bytes_ = 0;  // of the outstanding write
  bool ping_due_ = false;
  uint64_t last_ping_id_ = 0;
  pb::Ping last_ping_;  // id 0: none is unanswered
};

}  // namespace spillway::session
