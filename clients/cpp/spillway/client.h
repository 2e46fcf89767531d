// The C++ client of Spillway: producers, consumers, readers, administration.
//
//   auto client = spillway::client::Client::Make({}).value();
//   auto producer = client.OpenProducer({.queue = "orders"}).value();
//   auto published = producer.Publish({.payload = "hello"});   // waits for the confirmation
//   auto consumer = client.OpenConsumer(options).value();
//   while (auto batch = consumer.Next(std::chrono::seconds(1))) { ... (*batch)->Ack(); }
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients/cpp/spillway/admin.h"
#include "clients/cpp/spillway/credit.h"
#include "clients/cpp/spillway/delivery.h"
#include "clients/cpp/spillway/error.h"
#include "clients/cpp/spillway/message.h"
#include "clients/cpp/spillway/options.h"
#include "clients/cpp/spillway/publish.h"

namespace spillway::client {

namespace internal {
class Core;
class ProducerSession;
}  // namespace internal

// Sends records to one queue over one stream, which comes back after a break: a
// record is confirmed to the caller exactly once, whatever the network did.
//
// Thread-safe. Destroying it abandons what is unconfirmed (each is answered with
// kClosed, its outcome unknown); call Close to finish first.
class Producer {
 public:
  ~Producer();
  Producer(Producer&&) noexcept;
  Producer& operator=(Producer&&) noexcept;

  // Waits for credit, then for the confirmation. Errors: kQueueFull at once if the
  // queue refuses when full; kTimedOut (with the reason) without credit in time,
  // then nothing was sent, or without a confirmation, then the outcome is unknown;
  // whatever the broker refuses it for. Not from a callback.
  Result<Published> Publish(const Message& message, Timeout timeout = kForever);
  // Waits for credit only; `done` is called later. On an error it never is.
  Status PublishAsync(const Message& message, PublishCallback done, Timeout timeout = kForever);
  // Never waits: false if there is no credit now.
  Result<bool> TryPublish(const Message& message, PublishCallback done);
  // Waits for credit for encoded records, and sends them as frames of their own:
  // whole, or in pieces if the window is smaller than the batch. On an error the
  // pieces that were not sent are not called back.
  Status PublishBatch(const EncodedBatch& batch, BatchCallback done, Timeout timeout = kForever);
  // Waits until everything is confirmed or refused, and the callbacks have run.
  Status Flush(Timeout timeout = kForever);
  // Flush, and an orderly end of the stream.
  Status Close(Timeout timeout = milliseconds(defaults::kCloseTimeoutMs));

  // What may be published now without waiting.
  Credit credit() const;
  // Why callers wait; nothing if none does.
  std::optional<Blocked> blocked() const;
  // Records that are taken over and unanswered.
  uint64_t unconfirmed() const;
  std::string producer_id() const;
  // Names the present stream in Admin and Explain.
  std::string session_id() const;
  uint64_t epoch() const;
  uint64_t reconnects() const;

 private:
  friend class Client;
  explicit Producer(std::shared_ptr<internal::ProducerSession> session);
  std::shared_ptr<internal::ProducerSession> session_;
};

// Receives records of one queue as a member of a group. After a break it states
// what it holds and goes on; a record may come more than once.
//
// Thread-safe. Destroying it ends the stream; what is unsettled goes to others.
class Consumer {
 public:
  ~Consumer();
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;

  // The next records; nothing after `timeout`. Not with `on_batch`.
  Result<std::optional<DeliveryBatch>> Next(Timeout timeout = kForever);
  // For records whose batch is gone (DeliveryBatch::Release). What is not in
  // flight for this consumer is ignored.
  void Settle(const std::vector<OffsetRange>& ranges, SettleAction action,
              const SettleOptions& options = {});
  void Ack(const std::vector<OffsetRange>& ranges) { Settle(ranges, SettleAction::kAck); }
  void Extend(const std::vector<OffsetRange>& ranges);
  // Sends what is settled, then ends the stream.
  Status Close(Timeout timeout = milliseconds(defaults::kCloseTimeoutMs));

  // What is delivered and unsettled.
  std::vector<OffsetRange> held() const;
  std::string session_id() const;
  uint64_t reconnects() const;

 private:
  friend class Client;
  explicit Consumer(std::shared_ptr<internal::ConsumerSession> session);
  std::shared_ptr<internal::ConsumerSession> session_;
};

// Reads records without a cursor: a replay that disturbs no group. Thread-safe.
class Reader {
 public:
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  // The next records; nothing after `timeout`, or once ended() is true.
  Result<std::optional<DeliveryBatch>> Next(Timeout timeout = kForever);
  // Whether the stop was reached and everything before it delivered.
  bool ended() const;
  // The offset after the last record received.
  uint64_t next_offset() const;
  // Where it began, and where the tail was then.
  uint64_t start_offset() const;
  uint64_t tail_offset() const;
  std::string session_id() const;
  uint64_t reconnects() const;
  Status Close(Timeout timeout = milliseconds(defaults::kCloseTimeoutMs));

 private:
  friend class Client;
  explicit Reader(std::shared_ptr<internal::ConsumerSession> session);
  std::shared_ptr<internal::ConsumerSession> session_;
};

// One connection to a broker, and one thread. Thread-safe; copies share both, and
// producers and consumers keep them alive.
class Client {
 public:
  // Does not connect yet. Errors: kInvalidArgument for an unreadable `ca_file`.
  static Result<Client> Make(ClientOptions options);

  // Each waits until the stream is open, up to `connect_timeout`.
  Result<Producer> OpenProducer(ProducerOptions options);
  Result<Consumer> OpenConsumer(ConsumerOptions options);
  Result<Reader> OpenReader(ReaderOptions options);
  Admin admin() const;
  const std::string& address() const;

 private:
  explicit Client(std::shared_ptr<internal::Core> core);
  std::shared_ptr<internal::Core> core_;
};

}  // namespace spillway::client
