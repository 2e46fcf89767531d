// Spillway's C++ client, as an application uses it: message by message, each
// delivered record handed over and acknowledged.
#include <stdexcept>
#include <utility>

#include "clients/cpp/spillway/client.h"
#include "tests/bench/peers/cpp/client.h"

namespace spillway::bench {
namespace {

// As in tests/bench/peers/spillway.go.
constexpr uint64_t kMaxInFlightMessages = 100'000;
constexpr uint64_t kMaxInFlightBytes = 32 << 20;

std::string Text(const client::Error& error) { return error.ToString(); }

template <typename T>
T Must(client::Result<T> result) {
  if (!result.ok()) throw std::runtime_error(Text(result.error()));
  return std::move(*result);
}

client::Client Connect(const Options& options) {
  return Must(
      client::Client::Make({.address = options.address, .name = "peers", .fail_fast = true}));
}

class SpillwayPublisher : public Publisher {
 public:
  SpillwayPublisher(const Options& options, Progress& progress)
      : client_(Connect(options)),
        producer_(Must(client_.OpenProducer({.queue = options.topic}))),
        progress_(progress) {}

  // Copies the payload. Frames form by themselves: each is what came while the one
  // before was being written.
  void Publish(std::string_view payload) override {
    const auto status = producer_.PublishAsync(
        {.payload = payload}, [this](const client::Result<client::Published>& result) {
          if (result.ok()) {
            progress_.Acked(1);
          } else {
            progress_.Failed(Text(result.error()));
          }
        });
    if (!status.ok()) throw std::runtime_error(Text(status.error()));
  }
  void One(std::string_view payload) override { Must(producer_.Publish({.payload = payload})); }

 private:
  client::Client client_;
  client::Producer producer_;
  Progress& progress_;
};

// Of a Consumer or a client's Reader.
template <typename Stream>
class SpillwaySubscription : public Subscription {
 public:
  SpillwaySubscription(client::Client client, Stream stream)
      : client_(std::move(client)), stream_(std::move(stream)) {}
  ~SpillwaySubscription() override { (void)stream_.Close(); }

 private:
  client::Client client_;
  Stream stream_;
};

// On the client's thread: there is no hand-over to another.
auto Taking(Reader& reader, Progress& progress, bool settle) {
  return [&reader, &progress, settle](client::DeliveryBatch batch) {
    for (const client::RecordView& record : batch) reader.Take(record.payload());
    if (settle) batch.Ack();
    progress.Received(batch.size());
  };
}

}  // namespace

std::unique_ptr<Publisher> OpenPublisher(const Options& options, Progress& progress) {
  return std::make_unique<SpillwayPublisher>(options, progress);
}

std::unique_ptr<Subscription> Consume(const Options& options, Reader& reader, Progress& progress) {
  client::ConsumerOptions consume;
  consume.queue = options.topic;
  consume.group = options.group;
  consume.max_in_flight_messages = kMaxInFlightMessages;
  consume.max_in_flight_bytes = kMaxInFlightBytes;
  consume.on_batch = Taking(reader, progress, /*settle=*/true);
  auto client = Connect(options);
  auto consumer = Must(client.OpenConsumer(std::move(consume)));
  return std::make_unique<SpillwaySubscription<client::Consumer>>(std::move(client),
                                                                  std::move(consumer));
}

std::unique_ptr<Subscription> Replay(const Options& options, Reader& reader, Progress& progress) {
  client::ReaderOptions read;
  read.queue = options.topic;
  read.start = client::Start::Earliest();
  // What readers of the other clients have by default.
  read.max_in_flight_messages = client::defaults::kReplayMessages;
  read.on_batch = Taking(reader, progress, /*settle=*/false);
  auto client = Connect(options);
  auto stream = Must(client.OpenReader(std::move(read)));
  return std::make_unique<SpillwaySubscription<client::Reader>>(std::move(client),
                                                                std::move(stream));
}

}  // namespace spillway::bench
