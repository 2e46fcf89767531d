#include "clients/cpp/spillway/client.h"

#include <condition_variable>
#include <mutex>
#include <utility>

#include "clients/cpp/spillway/internal/consumer_session.h"
#include "clients/cpp/spillway/internal/core.h"
#include "clients/cpp/spillway/internal/producer_session.h"

namespace spillway::client {
namespace {

// Where Publish waits for its answer; shared with the callback, which may come
// after the caller has given up.
struct Answered {
  std::mutex mu;
  std::condition_variable changed;
  std::optional<Result<Published>> result;
};

template <typename Session, typename Options>
Result<std::shared_ptr<Session>> OpenSession(const std::shared_ptr<internal::Core>& core,
                                             Options&& options) {
  auto session = std::make_shared<Session>(core, std::forward<Options>(options));
  const Status status = session->Open();
  if (!status.ok()) return status.error();
  return session;
}

}  // namespace

Producer::Producer(std::shared_ptr<internal::ProducerSession> session)
    : session_(std::move(session)) {}
Producer::~Producer() {
  if (session_ != nullptr) session_->Abandon();
}
Producer::Producer(Producer&&) noexcept = default;
Producer& Producer::operator=(Producer&& o) noexcept {
  std::swap(session_, o.session_);
  return *this;
}

Result<Published> Producer::Publish(const Message& message, Timeout timeout) {
  const auto deadline = internal::Clock::now() + (timeout == kForever ? milliseconds(0) : timeout);
  const auto answer = std::make_shared<Answered>();
  const Status status = session_->Publish(
      message,
      [answer](const Result<Published>& result) {
        const std::lock_guard lock(answer->mu);
        answer->result = result;
        answer->changed.notify_one();
      },
      timeout);
  if (!status.ok()) return status.error();
  std::unique_lock lock(answer->mu);
  const auto done = [&] { return answer->result.has_value(); };
  if (timeout == kForever) {
    answer->changed.wait(lock, done);
  } else if (!answer->changed.wait_until(lock, deadline, done)) {
    return Error{.kind = ErrorKind::kTimedOut,
                 .message = "sent, but not confirmed in time; the outcome is unknown"};
  }
  return *answer->result;
}

Status Producer::PublishAsync(const Message& message, PublishCallback done, Timeout timeout) {
  return session_->Publish(message, std::move(done), timeout);
}
Result<bool> Producer::TryPublish(const Message& message, PublishCallback done) {
  return session_->TryPublish(message, std::move(done));
}
Status Producer::PublishBatch(const EncodedBatch& batch, BatchCallback done, Timeout timeout) {
  return session_->PublishBatch(batch, std::move(done), timeout);
}
Status Producer::Flush(Timeout timeout) { return session_->Flush(timeout); }
Status Producer::Close(Timeout timeout) { return session_->Close(timeout); }
Credit Producer::credit() const { return session_->credit(); }
std::optional<Blocked> Producer::blocked() const { return session_->blocked(); }
uint64_t Producer::unconfirmed() const { return session_->unconfirmed(); }
std::string Producer::producer_id() const { return session_->producer_id(); }
std::string Producer::session_id() const { return session_->session_id(); }
uint64_t Producer::epoch() const { return session_->epoch(); }
uint64_t Producer::reconnects() const { return session_->reconnects(); }

Consumer::Consumer(std::shared_ptr<internal::ConsumerSession> session)
    : session_(std::move(session)) {}
Consumer::~Consumer() {
  if (session_ != nullptr) session_->Discard();
}
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&& o) noexcept {
  std::swap(session_, o.session_);
  return *this;
}

Result<std::optional<DeliveryBatch>> Consumer::Next(Timeout timeout) {
  return session_->Next(timeout);
}
void Consumer::Settle(const std::vector<OffsetRange>& ranges, SettleAction action,
                      const SettleOptions& options) {
  session_->Settle(ranges, std::nullopt, action, options);
}
void Consumer::Extend(const std::vector<OffsetRange>& ranges) {
  session_->Extend(ranges, std::nullopt);
}
Status Consumer::Close(Timeout timeout) { return session_->Close(timeout); }
std::vector<OffsetRange> Consumer::held() const { return session_->held(); }
std::string Consumer::session_id() const { return session_->session_id(); }
uint64_t Consumer::reconnects() const { return session_->reconnects(); }

Reader::Reader(std::shared_ptr<internal::ConsumerSession> session) : session_(std::move(session)) {}
Reader::~Reader() {
  if (session_ != nullptr) session_->Discard();
}
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&& o) noexcept {
  std::swap(session_, o.session_);
  return *this;
}

Result<std::optional<DeliveryBatch>> Reader::Next(Timeout timeout) {
  return session_->Next(timeout);
}
bool Reader::ended() const { return session_->ended(); }
uint64_t Reader::next_offset() const { return session_->next_offset(); }
uint64_t Reader::start_offset() const { return session_->start_offset(); }
uint64_t Reader::tail_offset() const { return session_->tail_offset(); }
std::string Reader::session_id() const { return session_->session_id(); }
uint64_t Reader::reconnects() const { return session_->reconnects(); }
Status Reader::Close(Timeout timeout) { return session_->Close(timeout); }

Client::Client(std::shared_ptr<internal::Core> core) : core_(std::move(core)) {}

Result<Client> Client::Make(ClientOptions options) {
  Result<std::shared_ptr<internal::Core>> core = internal::Core::Make(std::move(options));
  if (!core.ok()) return core.error();
  return Client(*std::move(core));
}

Result<Producer> Client::OpenProducer(ProducerOptions options) {
  auto session = OpenSession<internal::ProducerSession>(core_, std::move(options));
  if (!session.ok()) return session.error();
  return Producer(std::move(*session));
}

Result<Consumer> Client::OpenConsumer(ConsumerOptions options) {
  auto session = OpenSession<internal::ConsumerSession>(core_, std::move(options));
  if (!session.ok()) return session.error();
  return Consumer(std::move(*session));
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): as the others take theirs
Result<Reader> Client::OpenReader(ReaderOptions options) {
  auto session = OpenSession<internal::ConsumerSession>(core_, std::move(options));
  if (!session.ok()) return session.error();
  return Reader(std::move(*session));
}

Admin Client::admin() const { return Admin(core_); }
const std::string& Client::address() const { return core_->options().address; }

}  // namespace spillway::client
