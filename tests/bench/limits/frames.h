// What the programs of limits share: the frames that clients send, and how results
// are handed over.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "clients/cpp/bench/load.h"

namespace spillway::bench {

// The encoded PublishRequest that a client sends for one batch of this shape.
std::string PublishFrame(const Shape& shape);

// {"p50_us": …, "p99_us": …, "p999_us": …}.
nlohmann::json QuantilesJson(const Histogram& h);

// One line of JSON on stdout: what tests/bench/core reads. Returns the exit code.
int PrintResult(const nlohmann::json& result);
// One line on stderr. Returns the exit code.
int Fail(const std::string& why);

}  // namespace spillway::bench
