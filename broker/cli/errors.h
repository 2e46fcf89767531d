// An error as the command line tells it: text, JSON, exit code.
#pragma once

#include <string>
#include <string_view>

#include "broker/cli/exit_codes.h"
#include "broker/cli/json.h"
#include "clients/cpp/spillway/error.h"

namespace spillway::cli {

// The code for an error.
int ExitCodeOf(client::ErrorKind kind);
// "TOO_LARGE: the record … (field publish.records[0]; limit 4,194,304; actual 5,000,005)".
std::string Describe(const client::Error& error);
// The same for scripts: {"error": {"kind", "message", "field", …, "exit_code"}}. What
// is not known is left out.
Json ErrorJson(const client::Error& error, std::string_view hint);
// gRPC's own words for a broker that cannot be reached name neither the address
// asked for nor what to do: these do. Any other error is returned as it is.
client::Error WithAddress(client::Error error, const std::string& address);

}  // namespace spillway::cli
