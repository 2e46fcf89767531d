// A stream that comes back: what producers, consumers and readers share.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "clients/cpp/spillway/internal/backoff.h"
#include "clients/cpp/spillway/internal/core.h"
#include "clients/cpp/spillway/internal/stream.h"
#include "spillway/v1/credit.pb.h"

namespace spillway::client::internal {

// Opens, reconnects, keeps alive, drains and closes; the derived class knows the
// frames. Thread-safe; callbacks of the application run without the lock, on the
// loop's thread. Methods that end in Locked, and all hooks, run under the lock.
class Session : public Stream::Handler, public std::enable_shared_from_this<Session> {
 public:
  // In order of a stream's life; a broken one goes back to kWaiting.
  enum class State : uint8_t {
    kNew,
    kConnecting,  // the stream is being made, Opened has not come
    kOpen,
    kDraining,  // the broker goes away; finish what is credited
    kWaiting,   // for a reconnect
    kClosed,    // for good
  };

  // Waits until the stream is open.
  Status Open();
  // Lets what was taken over finish, then ends the stream.
  Status Close(Timeout timeout);
  // Ends it now; what is unanswered is answered with kClosed.
  void Abandon();

  std::string session_id() const;
  uint64_t reconnects() const;

  void OnStarted(Stream* stream) final;
  void OnFrame(Stream* stream, const grpc::ByteBuffer& frame) final;
  void OnWritten(Stream* stream) final;
  void OnEnded(Stream* stream, const Error& error) final;

 protected:
  Session(std::shared_ptr<Core> core, std::string method)
      : core_(std::move(core)),
        method_(std::move(method)),
        backoff_(core_->options().reconnect_base, core_->options().reconnect_max) {}

  // The Open frame of a new stream.
  virtual grpc::ByteBuffer OpenFrameLocked() = 0;
  // Reads a frame; an error ends the stream (for good, unless it is retryable).
  virtual Status ReceiveLocked(std::string_view bytes, grpc::Slice frame) = 0;
  // The next frame that carries records, settles, demand or credit.
  virtual std::optional<grpc::ByteBuffer> NextFrameLocked() = 0;
  virtual grpc::ByteBuffer PingFrameLocked(const v1::Ping& ping) = 0;
  virtual grpc::ByteBuffer PongFrameLocked(const v1::Pong& pong) = 0;
  virtual grpc::ByteBuffer CloseFrameLocked() = 0;
  // Nothing that was taken over is unfinished.
  virtual bool IdleLocked() const = 0;
  // The stream is gone and will be opened again.
  virtual void BrokenLocked() = 0;
  // The broker has taken all that was sent: it ended the stream as Close asked.
  virtual void FinishedLocked() {}
  // A Ping is sent; the Pong to the last one came.
  virtual void PingingLocked() {}
  virtual void AnsweredLocked() {}
  // Whether to ask by a Ping now, if none is unanswered.
  virtual bool WantsPongLocked() const { return false; }
  // It is gone for good.
  virtual void FailedLocked(const Error& error) = 0;
  // Calls the application for what has happened; with the lock released.
  virtual void Announce(std::unique_lock<std::mutex>* lock) = 0;

  // For derived classes, when the frames come.
  void OpenedLocked(std::string session, uint64_t heartbeat_ms, uint64_t dead_after_ms);
  void DrainLocked(uint64_t deadline_ms, uint64_t reconnect_after_ms);
  // Checks the peer's counters against `received`, and answers.
  Status PingedLocked(const v1::Ping& ping, uint64_t epoch, const Credit& received,
                      const Credit& limit);
  Status PongedLocked(const v1::Pong& pong, uint64_t epoch);
  // What this side has sent and seen, for its own Ping.
  virtual void CountersLocked(v1::Ping* ping) const = 0;

  // Writes what there is to write, if no write is outstanding.
  void PumpLocked();
  bool OpenLocked() const { return state_ == State::kOpen || state_ == State::kDraining; }
  void TerminateLocked(const Error& error);
  std::shared_ptr<Core> core_;
  mutable std::mutex mu_;
  std::condition_variable changed_;
  State state_ = State::kNew;
  bool closing_ = false;
  std::optional<Error> error_;  // with kClosed, unless it was closed by the application

 private:
  void ConnectLocked();
  void WriteLocked(const grpc::ByteBuffer& frame);
  void PingLocked();
  void ArmLocked(Clock::time_point when);
  void OnTimer();
  void RetryLocked(const Error& error);

  const std::string method_;
  std::shared_ptr<Stream> stream_;
  bool started_ = false;
  bool writing_ = false;
  bool close_sent_ = false;
  bool ever_open_ = false;
  std::optional<v1::Pong> pong_;
  std::optional<Error> cancel_cause_;
  std::optional<Error> last_error_;
  std::string session_id_;
  uint64_t reconnects_ = 0;
  uint64_t last_ping_ = 0;
  Credit ping_sent_;     // what last_ping_ said
  bool asking_ = false;  // it waits for its Pong
  milliseconds heartbeat_{0};
  milliseconds dead_after_{0};
  Backoff backoff_;
  milliseconds reconnect_after_{0};
  Clock::time_point opened_at_;
  Clock::time_point last_ping_at_;
  Clock::time_point last_received_;
  Clock::time_point connect_deadline_;
  Clock::time_point reconnect_at_;
  IoLoop::TimerId timer_ = 0;
};

}  // namespace spillway::client::internal
