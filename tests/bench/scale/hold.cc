// Opens connections to a running broker, each with one idle stream, by turns a
// consumer and a producer of the same queue. Prints a line when all are open and holds
// them, answering Pings, until its stdin ends; then prints how many ended before.
//
//   hold --address A --queue Q --connections N
//
// Without the C++ client, which has a thread for each connection.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "spillway/v1/broker.grpc.pb.h"
#include "tests/bench/limits/frames.h"

namespace spillway::bench {
namespace {

constexpr uint64_t kOpening = 128;  // at a time: a listener's backlog is bounded

// How many streams are open, and why one is not. Thread-safe.
class Tally {
 public:
  void Opened() {
    Change([this] { ++opened_; });
  }
  void Ended(const std::string& why) {
    Change([&] {
      ++ended_;
      if (why_.empty()) why_ = why;
    });
  }
  // Until at least `opened` are, or one has ended; returns whether they are.
  bool Await(uint64_t opened) {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return opened_ >= opened || ended_ > 0; });
    return ended_ == 0;
  }
  uint64_t ended() const {
    const std::lock_guard lock(mu_);
    return ended_;
  }
  std::string why() const {
    const std::lock_guard lock(mu_);
    return why_;
  }

 private:
  template <typename F>
  void Change(F f) {
    const std::lock_guard lock(mu_);
    f();
    changed_.notify_all();
  }

  mutable std::mutex mu_;
  std::condition_variable changed_;
  uint64_t opened_ = 0;
  uint64_t ended_ = 0;
  std::string why_;
};

// A stream that says nothing but what it is asked. Lives until the process ends.
template <typename Request, typename Response>
class Idle final : public grpc::ClientBidiReactor<Request, Response> {
 public:
  Idle(Tally* tally, Request open) : tally_(tally), request_(std::move(open)) {}
  // REQUIRES: bound to a call.
  void Start() {
    this->StartWrite(&request_);
    this->StartRead(&response_);
    this->StartCall();
  }
  grpc::ClientContext* context() { return &context_; }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.has_opened()) tally_->Opened();
    if (response_.has_ping()) {
      const std::lock_guard lock(mu_);
      owed_ = response_.ping();
      AnswerLocked();
    }
    this->StartRead(&response_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mu_);
    writing_ = false;
    if (ok) AnswerLocked();
  }
  void OnDone(const grpc::Status& status) override { tally_->Ended(status.error_message()); }
  void AnswerLocked() {
    if (!owed_ || writing_) return;
    request_.Clear();
    v1::Pong* pong = request_.mutable_pong();
    pong->set_id(owed_->id());
    pong->set_epoch(owed_->epoch());
    *pong->mutable_received() = owed_->sent();  // nothing is sent, or all came
    *pong->mutable_limit() = owed_->limit_seen();
    owed_.reset();
    writing_ = true;
    this->StartWrite(&request_);
  }

  Tally* const tally_;
  grpc::ClientContext context_;
  std::mutex mu_;
  bool writing_ = true;  // the Open
  std::optional<v1::Ping> owed_;
  Request request_;
  Response response_;
};

using Consumer = Idle<v1::ConsumeRequest, v1::ConsumeResponse>;
using Producer = Idle<v1::PublishRequest, v1::PublishResponse>;

// One connection and its stream.
struct Held {
  std::unique_ptr<v1::Broker::Stub> stub;
  std::unique_ptr<Consumer> consumer;
  std::unique_ptr<Producer> producer;
};

Held Hold(const std::string& address, const std::string& queue, uint64_t number, Tally* tally) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection each
  Held held;
  held.stub = v1::Broker::NewStub(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), args));
  if (number % 2 == 0) {
    v1::ConsumeRequest request;
    v1::ConsumeOpen* open = request.mutable_open();
    open->set_protocol(1);
    open->set_queue(queue);
    open->mutable_group()->set_group("idle");
    held.consumer = std::make_unique<Consumer>(tally, std::move(request));
    held.stub->async()->Consume(held.consumer->context(), held.consumer.get());
    held.consumer->Start();
  } else {
    v1::PublishRequest request;
    v1::PublishOpen* open = request.mutable_open();
    open->set_protocol(1);
    open->set_queue(queue);
    held.producer = std::make_unique<Producer>(tally, std::move(request));
    held.stub->async()->Publish(held.producer->context(), held.producer.get());
    held.producer->Start();
  }
  return held;
}

// What is held is not to be destroyed after it: the calls are under way.
int Run(const std::string& address, const std::string& queue, uint64_t connections,
        std::vector<Held>& held, Tally& tally) {
  const auto opened = [&](uint64_t n) {
    if (tally.Await(n)) return true;
    Fail("after " + std::to_string(held.size()) + " connections one ended: " + tally.why());
    return false;
  };
  for (uint64_t i = 0; i < connections; ++i) {
    held.push_back(Hold(address, queue, i, &tally));
    if (i >= kOpening && !opened(i - kOpening)) return 1;
  }
  if (!opened(connections)) return 1;
  PrintResult({{"count", connections}});
  while (std::getchar() != EOF) {
  }
  if (tally.ended() > 0) {
    return Fail(std::to_string(tally.ended()) + " of the idle streams ended: " + tally.why());
  }
  return 0;
}

}  // namespace
}  // namespace spillway::bench

int main(int argc, char** argv) {
  std::string address;
  std::string queue;
  uint64_t connections = 1;
  CLI::App app{"Idle connections to a running broker"};
  app.add_option("--address", address)->required();
  app.add_option("--queue", queue)->required();
  app.add_option("--connections", connections)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  std::vector<spillway::bench::Held> held;
  spillway::bench::Tally tally;
  // Thousands of calls are not ended one by one: the broker is thrown away.
  std::_Exit(spillway::bench::Run(address, queue, connections, held, tally));
}
