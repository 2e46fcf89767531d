// What a load needs of a system's client. One program is linked with one of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tests/bench/peers/cpp/progress.h"
#include "tests/bench/peers/cpp/reader.h"

namespace spillway::bench {

struct Options {
  std::string address;
  std::string topic;
  std::string group = "group-1";
  std::string workload;
  int64_t size = 1024;  // of a payload
  int64_t window = 1;   // messages that may be unacknowledged
  int64_t lead = 1;     // messages that the sender may be ahead of the reader
  int64_t count = 0;    // messages that are there to be read
  double warmup = 1;    // seconds
  double seconds = 3;   // of the measured time
  double rate = 2000;   // of an open loop

  // Each message is sent at once, instead of as many as possible.
  bool timing() const { return workload == "single" || workload == "latency"; }
};

// Used by one thread. Throws std::runtime_error.
class Publisher {
 public:
  virtual ~Publisher() = default;
  // Does not wait for the acknowledgement. The payload is left alone until that came.
  virtual void Publish(std::string_view payload) = 0;
  // Publishes alone, and waits for the acknowledgement.
  virtual void One(std::string_view payload) = 0;
};

// Hands messages to a reader until it is destroyed; from then on it calls nothing.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

// What the linked client is; each has a connection of its own. They tell `progress`
// what is acknowledged, and what fails later.
std::unique_ptr<Publisher> OpenPublisher(const Options& options, Progress& progress);
// All messages from the first, as the group, acknowledged.
std::unique_ptr<Subscription> Consume(const Options& options, Reader& reader, Progress& progress);
// All messages from the first, without a group.
std::unique_ptr<Subscription> Replay(const Options& options, Reader& reader, Progress& progress);

}  // namespace spillway::bench
