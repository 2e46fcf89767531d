#include "clients/cpp/bench/load.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

namespace spillway::bench {
namespace {

using client::Client;
using client::ErrorKind;
using client::milliseconds;
using client::Result;

double Seconds(uint64_t from, uint64_t to) { return static_cast<double>(to - from) / 1e9; }
bool Stopped(const StopFn& stop) { return stop && stop(); }

// What callbacks on the client's thread add up.
struct Confirmed {
  std::mutex mu;
  uint64_t records = 0;
  uint64_t refused = 0;
  uint64_t last = 0;
  Histogram latency;
};

void SleepUntil(uint64_t nanos) {
  const uint64_t now = MonotonicNanos();
  if (nanos > now) std::this_thread::sleep_for(std::chrono::nanoseconds(nanos - now));
}

// Counts what comes after the warm-up, up to the end of the measured time.
class Meter {
 public:
  explicit Meter(const ConsumeOptions& options) : options_(options) {}

  void Add(uint32_t records, uint64_t bytes) {
    const uint64_t now = MonotonicNanos();
    const std::lock_guard lock(mu_);
    if (done_) return;
    total_ += records;
    if (first_ == 0) first_ = now;
    if (begin_ == 0) {
      if (Seconds(first_, now) < options_.warmup_seconds) return;
      begin_ = now;  // what came just now is not of the measured time
      if (options_.warmup_seconds > 0) return;
    }
    records_ += records;
    bytes_ += bytes;
    last_ = now;
    if ((options_.seconds > 0 && Seconds(begin_, now) >= options_.seconds) ||
        (options_.count > 0 && total_ >= options_.count)) {
      done_ = true;
      changed_.notify_all();
    }
  }
  void Wait(const std::function<bool()>& or_else) {
    std::unique_lock lock(mu_);
    waits_since_ = MonotonicNanos();
    while (!changed_.wait_for(lock, milliseconds(20), [this] { return done_; })) {
      lock.unlock();
      const bool end = Stopped(options_.stop) || (or_else && or_else());
      lock.lock();
      if (end || TimeIsUp(MonotonicNanos())) break;
    }
    done_ = true;
  }
  ConsumeReport Report() {
    const std::lock_guard lock(mu_);
    return {.records = records_,
            .bytes = bytes_,
            .seconds = last_ > begin_ ? Seconds(begin_, last_) : 0,
            .total = total_};
  }

 private:
  // For when nothing comes: Add looks at the time, too.
  bool TimeIsUp(uint64_t now) const {
    if (first_ == 0) {
      return options_.first_seconds > 0 && Seconds(waits_since_, now) >= options_.first_seconds;
    }
    return options_.seconds > 0 &&
           Seconds(first_, now) >= options_.warmup_seconds + options_.seconds;
  }

  const ConsumeOptions& options_;
  std::mutex mu_;
  std::condition_variable changed_;
  bool done_ = false;
  uint64_t waits_since_ = 0;
  uint64_t first_ = 0;
  uint64_t begin_ = 0;
  uint64_t last_ = 0;
  uint64_t records_ = 0;
  uint64_t bytes_ = 0;
  uint64_t total_ = 0;
};

}  // namespace

uint64_t MonotonicNanos() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

std::string HalfRandom(uint32_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string payload(bytes, 's');
  for (uint32_t i = 0; i < bytes / 2; ++i) payload[i] = static_cast<char>(random());
  return payload;
}

client::EncodedBatch MakeBatch(const Shape& shape) {
  client::BatchBuilder builder;
  for (uint32_t i = 0; i < shape.batch; ++i) {
    builder.Add({.payload = HalfRandom(shape.record_bytes, i + 1)});
  }
  return builder.Build();
}

Result<PublishReport> RunPublish(const PublishOptions& options) {
  Result<Client> client = Client::Make(options.client);
  if (!client.ok()) return client.error();
  auto producer = client->OpenProducer({.queue = options.queue});
  if (!producer.ok()) return producer.error();
  const client::EncodedBatch batch = MakeBatch(options.shape);
  const auto confirmed = std::make_shared<Confirmed>();
  const uint64_t begin = MonotonicNanos();
  uint64_t sent = 0;
  while (!Stopped(options.stop) && (options.count == 0 || sent < options.count)) {
    uint64_t now = MonotonicNanos();
    if (options.seconds > 0 && Seconds(begin, now) >= options.seconds) break;
    if (options.rate > 0) {
      const uint64_t due =
          begin + static_cast<uint64_t>(1e9 * static_cast<double>(sent) / options.rate);
      SleepUntil(due);
      now = due;
    }
    const auto done = [confirmed, now](uint32_t, uint32_t count,
                                       const Result<client::Published>& result) {
      const std::lock_guard lock(confirmed->mu);
      if (!result.ok()) {
        confirmed->refused += count;
        return;
      }
      confirmed->records += count;
      confirmed->last = MonotonicNanos();
      confirmed->latency.Add(confirmed->last - now);
    };
    const client::Status status = producer->PublishBatch(batch, done, milliseconds(500));
    if (status.ok()) {
      sent += batch.size();
    } else if (status.error().kind != ErrorKind::kTimedOut) {
      return status.error();
    }
  }
  const client::Status flushed = producer->Flush(milliseconds(10'000));
  if (flushed.ok()) (void)producer->Close();
  const std::lock_guard lock(confirmed->mu);
  return PublishReport{.records = confirmed->records,
                       .seconds = confirmed->last > begin ? Seconds(begin, confirmed->last) : 0,
                       .refused = confirmed->refused,
                       .confirm = confirmed->latency};
}

Result<ConsumeReport> RunConsume(const ConsumeOptions& options) {
  Result<Client> client = Client::Make(options.client);
  if (!client.ok()) return client.error();
  const auto meter = std::make_shared<Meter>(options);
  client::ConsumerOptions consume;
  consume.queue = options.queue;
  consume.group = options.group;
  consume.max_in_flight_messages = options.max_in_flight_messages;
  consume.max_in_flight_bytes = options.max_in_flight_bytes;
  consume.on_batch = [meter](client::DeliveryBatch batch) {
    batch.Ack();
    meter->Add(batch.size(), batch.cost().bytes);
  };
  auto consumer = client->OpenConsumer(std::move(consume));
  if (!consumer.ok()) return consumer.error();
  meter->Wait(nullptr);
  const ConsumeReport report = meter->Report();
  (void)consumer->Close(milliseconds(2000));
  return report;
}

Result<ConsumeReport> RunReplay(const ConsumeOptions& options) {
  Result<Client> client = Client::Make(options.client);
  if (!client.ok()) return client.error();
  const auto meter = std::make_shared<Meter>(options);
  client::ReaderOptions read;
  read.queue = options.queue;
  read.stop = client::Stop::AtTail();
  read.max_in_flight_messages = options.max_in_flight_messages;
  read.max_in_flight_bytes = options.max_in_flight_bytes;
  read.on_batch = [meter](const client::DeliveryBatch& batch) {
    meter->Add(batch.size(), batch.cost().bytes);
  };
  auto reader = client->OpenReader(std::move(read));
  if (!reader.ok()) return reader.error();
  meter->Wait([&] { return reader->ended(); });
  return meter->Report();
}

Result<LatencyReport> RunLatency(const LatencyOptions& options) {
  // A connection for each direction, as separate services have.
  Result<Client> sender = Client::Make(options.client);
  Result<Client> receiver = Client::Make(options.client);
  if (!sender.ok()) return sender.error();
  struct Shared {
    std::mutex mu;
    LatencyReport report;
    uint64_t measure_from = 0;
  };
  const auto shared = std::make_shared<Shared>();
  client::ConsumerOptions consume;
  consume.queue = options.queue;
  consume.group = options.group;
  consume.start = client::Start::Latest();
  consume.on_batch = [shared](client::DeliveryBatch batch) {
    const uint64_t now = MonotonicNanos();
    const std::lock_guard lock(shared->mu);
    for (const client::RecordView& record : batch) {
      uint64_t due = 0;
      if (record.payload().size() < sizeof due) continue;
      std::memcpy(&due, record.payload().data(), sizeof due);
      if (due < shared->measure_from || due > now) continue;  // of another run, or warm-up
      shared->report.delivery.Add(now - due);
      ++shared->report.received;
    }
    batch.Ack();
  };
  auto consumer = receiver->OpenConsumer(std::move(consume));
  if (!consumer.ok()) return consumer.error();
  auto producer = sender->OpenProducer({.queue = options.queue});
  if (!producer.ok()) return producer.error();

  std::string payload = HalfRandom(std::max<uint32_t>(options.record_bytes, 8), 1);
  const uint64_t begin = MonotonicNanos() + 1'000'000;
  const auto warmup = static_cast<uint64_t>(options.warmup_seconds * 1e9);
  const auto length = static_cast<uint64_t>(options.seconds * 1e9);
  shared->measure_from = begin + warmup;
  uint64_t measured = 0;
  for (uint64_t n = 0; !Stopped(options.stop); ++n) {
    const uint64_t due = begin + static_cast<uint64_t>(1e9 * static_cast<double>(n) / options.rate);
    if (due >= begin + warmup + length) break;
    SleepUntil(due);
    std::memcpy(payload.data(), &due, sizeof due);
    const bool counts = due >= begin + warmup;
    if (counts) ++measured;
    const client::Status status =
        producer->PublishAsync({.payload = payload}, [shared, due, counts](const auto& result) {
          const uint64_t now = MonotonicNanos();
          const std::lock_guard lock(shared->mu);
          if (counts && result.ok()) shared->report.confirm.Add(now - due);
        });
    if (!status.ok()) return status.error();
  }
  (void)producer->Flush(milliseconds(10'000));
  for (int i = 0; i < 200; ++i) {  // what is still on its way
    {
      const std::lock_guard lock(shared->mu);
      if (shared->report.received >= measured) break;
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
  (void)producer->Close();
  (void)consumer->Close();
  const std::lock_guard lock(shared->mu);
  shared->report.sent = measured;
  shared->report.seconds = options.seconds;
  return shared->report;
}

}  // namespace spillway::bench
