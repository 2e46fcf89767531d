#include "tests/bench/limits/spread.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/bench/limits/frames.h"

namespace spillway::bench {

void AddOptions(CLI::App* app, Spread* spread) {
  app->add_option("--address", spread->address)->required();
  app->add_option("--pid", spread->pid, "The process that is loaded")->required();
  app->add_option("--queues", spread->queues)->check(CLI::PositiveNumber);
  app->add_option("--pairs", spread->pairs, "Of a producer and a consumer")
      ->check(CLI::PositiveNumber);
  app->add_option("--connections", spread->connections)->check(CLI::PositiveNumber);
  app->add_option("--size", spread->shape.record_bytes, "Bytes of a payload");
  app->add_option("--batch", spread->shape.batch, "Records of a frame");
  app->add_option("--in-flight", spread->in_flight, "Records under way at a time");
  app->add_option("--warmup", spread->warmup_seconds, "Seconds");
  app->add_option("--seconds", spread->seconds);
}

double CpuSeconds(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

int PrintSpreadResult(const SpreadResult& got) {
  return PrintResult({{"records", got.records},
                      {"seconds", got.seconds},
                      {"total", got.records},
                      {"cpu_seconds", got.cpu_seconds},
                      {"open_seconds", got.open_seconds}});
}

}  // namespace spillway::bench
