// A flag for each tunable of a queue, from the registry.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "clients/cpp/spillway/error.h"
#include "spillway/v1/queue.pb.h"

namespace spillway::cli {

// --window-bytes 64MiB --retention-age 24h --durability persisted …
// A tunable in milliseconds loses its "_ms" in the flag and takes a duration.
class TuningFlags {
 public:
  void Add(CLI::App* command);
  bool empty() const;
  // What was given, checked against the ranges of the registry.
  client::Result<v1::QueueTuning> Get() const;

 private:
  std::map<std::string, std::string> values_;  // by tunable
};

// "--retention-age" for retention_age_ms.
std::string FlagOf(std::string_view tunable);
// What a tunable that is an enum may be, as "synced"; none for a number.
std::vector<std::string> ValuesOf(std::string_view tunable);
// Sets one field from text; `name` is the tunable's.
client::Status SetTunable(std::string_view name, const std::string& text, v1::QueueTuning* tuning);
// A field's value for people: "64 MiB", "24 h", "SYNCED".
std::string ShowTunable(const v1::QueueTuning& tuning, std::string_view name);

}  // namespace spillway::cli
