// One load over many queues and connections: what `many`, which loads a broker, and
// `relay_many_load`, which loads the relay, have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <string>

#include "clients/cpp/bench/load.h"

namespace spillway::bench {

// Pair i is a producer and a consumer of queue i mod `queues`; producers share one half
// of the connections, consumers the other.
struct Spread {
  std::string address;
  int pid = 0;
  uint32_t queues = 1;
  uint32_t pairs = 1;
  uint32_t connections = 2;
  Shape shape;
  uint64_t in_flight = 16'384;
  double warmup_seconds = 1;
  double seconds = 3;

  std::string QueueOf(uint32_t pair) const { return "q" + std::to_string(pair % queues); }
  uint32_t ProducerConnection(uint32_t pair) const { return pair % half(); }
  uint32_t ConsumerConnection(uint32_t pair) const {
    return (half() + pair % half()) % connections;
  }

 private:
  uint32_t half() const { return std::max(1U, connections / 2); }
};

void AddOptions(CLI::App* app, Spread* spread);

// Of all threads of a process so far: utime and stime of /proc/PID/stat.
double CpuSeconds(int pid);

// Of the measured time alone.
struct SpreadResult {
  uint64_t records = 0;
  double seconds = 0;
  double cpu_seconds = 0;   // of the process that was loaded
  double open_seconds = 0;  // how long it took to open all
};
// As PrintResult.
int PrintSpreadResult(const SpreadResult& got);

}  // namespace spillway::bench
