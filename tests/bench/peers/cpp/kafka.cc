// Kafka's C client, librdkafka, as it is fast: delivery reports and messages are taken
// many at a time, and payloads are not copied to be sent.
#include <librdkafka/rdkafka.h>

#include <array>
#include <map>
#include <stdexcept>
#include <thread>

#include "tests/bench/peers/cpp/client.h"

namespace spillway::bench {
namespace {

using Settings = std::map<std::string, std::string>;

constexpr int kPollMs = 100;

struct Destroy {
  void operator()(rd_kafka_t* kafka) const { rd_kafka_destroy(kafka); }
  void operator()(rd_kafka_topic_t* topic) const { rd_kafka_topic_destroy(topic); }
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
  void operator()(rd_kafka_topic_partition_list_t* list) const {
    rd_kafka_topic_partition_list_destroy(list);
  }
};
template <typename T>
using Owned = std::unique_ptr<T, Destroy>;

void Check(rd_kafka_resp_err_t error) {
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw std::runtime_error(rd_kafka_err2str(error));
}

Owned<rd_kafka_t> Connect(rd_kafka_type_t type, const Settings& settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  std::array<char, 512> error{};
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), error.data(), error.size()) !=
        RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      throw std::runtime_error(error.data());
    }
  }
  if (type == RD_KAFKA_PRODUCER) rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
  rd_kafka_t* kafka = rd_kafka_new(type, conf, error.data(), error.size());
  if (kafka == nullptr) throw std::runtime_error(error.data());
  return Owned<rd_kafka_t>(kafka);
}

// A thread takes the delivery reports.
class KafkaPublisher : public Publisher {
 public:
  KafkaPublisher(const Options& options, Progress& progress)
      : progress_(progress),
        kafka_(Connect(RD_KAFKA_PRODUCER,
                       {{"bootstrap.servers", options.address},
                        {"acks", "all"},
                        // Its default. With idempotence it has one request of a partition
                        // in flight, and polls without a pause for its answer.
                        {"enable.idempotence", "false"},
                        {"linger.ms", options.timing() ? "0" : "5"},
                        {"batch.size", "1048576"},
                        {"batch.num.messages", "1000000"},  // bytes are to bound it
                        {"message.max.bytes", "8388608"},
                        {"queue.buffering.max.messages", "0"},  // the window bounds them
                        {"queue.buffering.max.kbytes", "1048576"},
                        {"socket.nagle.disable", "true"}})),
        topic_(rd_kafka_topic_new(kafka_.get(), options.topic.c_str(), nullptr)),
        reports_(rd_kafka_queue_get_main(kafka_.get())),
        reporting_([this] { Report(); }) {}
  ~KafkaPublisher() override {
    ended_ = true;
    reporting_.join();
  }

  // One partition: one order.
  void Publish(std::string_view payload) override {
    if (rd_kafka_produce(topic_.get(), 0, /*msgflags=*/0, const_cast<char*>(payload.data()),
                         payload.size(), nullptr, 0, nullptr) != 0) {
      Check(rd_kafka_last_error());
    }
  }
  void One(std::string_view payload) override {
    Publish(payload);
    progress_.WaitFor(++alone_, 0, Seconds(60));
  }

 private:
  void Report() {
    std::array<const rd_kafka_message_t*, 1000> messages{};
    while (!ended_) {
      const Owned<rd_kafka_event_t> event(rd_kafka_queue_poll(reports_.get(), kPollMs));
      if (event == nullptr || rd_kafka_event_type(event.get()) != RD_KAFKA_EVENT_DR) continue;
      while (const size_t n =
                 rd_kafka_event_message_array(event.get(), messages.data(), messages.size())) {
        int64_t kept = 0;
        for (size_t i = 0; i < n; ++i) {
          if (messages[i]->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            ++kept;
          } else {
            progress_.Failed(rd_kafka_err2str(messages[i]->err));
          }
        }
        progress_.Acked(kept);
      }
    }
  }

  Progress& progress_;
  Owned<rd_kafka_t> kafka_;
  Owned<rd_kafka_topic_t> topic_;
  Owned<rd_kafka_queue_t> reports_;
  int64_t alone_ = 0;
  std::atomic<bool> ended_ = false;
  std::thread reporting_;
};

// A thread takes the messages: one when it comes, and those that are there with it.
class KafkaSubscription : public Subscription {
 public:
  KafkaSubscription(const Options& options, bool grouped, Reader& reader, Progress& progress)
      : reader_(reader),
        progress_(progress),
        kafka_(Connect(RD_KAFKA_CONSUMER,
                       {{"bootstrap.servers", options.address},
                        {"group.id", options.group + "-" + options.topic},
                        {"auto.offset.reset", "earliest"},
                        {"enable.auto.commit", grouped ? "true" : "false"},
                        {"auto.commit.interval.ms", "1000"},
                        {"fetch.max.bytes", "67108864"},
                        {"max.partition.fetch.bytes", "16777216"},
                        {"receive.message.max.bytes", "134217728"},
                        {"fetch.min.bytes", "1"},
                        {"fetch.wait.max.ms", "500"},
                        // Its default is to pause for a second when its queue was full.
                        {"fetch.queue.backoff.ms", "1"},
                        {"check.crcs", "false"},
                        {"socket.nagle.disable", "true"}})),
        queue_(rd_kafka_queue_get_consumer(kafka_.get())) {
    const Owned<rd_kafka_topic_partition_list_t> topics(rd_kafka_topic_partition_list_new(1));
    if (grouped) {
      rd_kafka_topic_partition_list_add(topics.get(), options.topic.c_str(), RD_KAFKA_PARTITION_UA);
      Check(rd_kafka_subscribe(kafka_.get(), topics.get()));
    } else {
      rd_kafka_topic_partition_list_add(topics.get(), options.topic.c_str(), 0)->offset =
          RD_KAFKA_OFFSET_BEGINNING;
      Check(rd_kafka_assign(kafka_.get(), topics.get()));
    }
    taking_ = std::thread([this] { Take(); });
  }
  ~KafkaSubscription() override {
    ended_ = true;
    taking_.join();
    rd_kafka_consumer_close(kafka_.get());
  }

 private:
  void Take() {
    std::array<rd_kafka_message_t*, 1000> messages{};
    while (!ended_) {
      rd_kafka_message_t* first = rd_kafka_consumer_poll(kafka_.get(), kPollMs);
      if (first == nullptr) continue;
      int64_t taken = TakeOne(first);
      const ssize_t more = rd_kafka_consume_batch_queue(queue_.get(), /*timeout_ms=*/0,
                                                        messages.data(), messages.size());
      for (ssize_t i = 0; i < more; ++i) taken += TakeOne(messages[static_cast<size_t>(i)]);
      progress_.Received(taken);
    }
  }
  int TakeOne(rd_kafka_message_t* message) {
    const bool good = message->err == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (good) {
      reader_.Take({static_cast<const char*>(message->payload), message->len});
    } else {
      progress_.Failed(rd_kafka_message_errstr(message));
    }
    rd_kafka_message_destroy(message);
    return good ? 1 : 0;
  }

  Reader& reader_;
  Progress& progress_;
  Owned<rd_kafka_t> kafka_;
  Owned<rd_kafka_queue_t> queue_;
  std::atomic<bool> ended_ = false;
  std::thread taking_;
};

}  // namespace

std::unique_ptr<Publisher> OpenPublisher(const Options& options, Progress& progress) {
  return std::make_unique<KafkaPublisher>(options, progress);
}

std::unique_ptr<Subscription> Consume(const Options& options, Reader& reader, Progress& progress) {
  return std::make_unique<KafkaSubscription>(options, /*grouped=*/true, reader, progress);
}

std::unique_ptr<Subscription> Replay(const Options& options, Reader& reader, Progress& progress) {
  return std::make_unique<KafkaSubscription>(options, /*grouped=*/false, reader, progress);
}

}  // namespace spillway::bench
