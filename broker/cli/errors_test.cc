#include "broker/cli/errors.h"

#include <gtest/gtest.h>

#include "broker/base/registry.gen.h"

namespace spillway::cli {
namespace {

using client::Error;
using client::ErrorKind;

TEST(Errors, EveryKindHasACode) {
  EXPECT_EQ(ExitCodeOf(ErrorKind::kInvalidArgument), 2);
  EXPECT_EQ(ExitCodeOf(ErrorKind::kTooLarge), 2);
  EXPECT_EQ(ExitCodeOf(ErrorKind::kNotFound), 3);
  EXPECT_EQ(ExitCodeOf(ErrorKind::kRevisionMismatch), 4);
  EXPECT_EQ(ExitCodeOf(ErrorKind::kExclusive), 4);
  EXPECT_EQ(ExitCodeOf(ErrorKind::kQueueFull), 5);
  EXPECT_EQ(ExitCodeOf(ErrorKind::kUnavailable), 6);
  EXPECT_EQ(ExitCodeOf(ErrorKind::kTimedOut), 7);
  EXPECT_EQ(ExitCodeOf(ErrorKind::kOutOfRange), 8);
  for (const auto& kind : registry::kErrorKinds) {
    EXPECT_NE(ExitCodeOf(static_cast<ErrorKind>(kind.number)), 0) << kind.name;
  }
}

TEST(Errors, TextNamesFieldAndLimit) {
  EXPECT_EQ(Describe({.kind = ErrorKind::kTooLarge,
                      .message = "the record is too large",
                      .field = "publish.records[0]",
                      .limit = 4'194'304,
                      .actual = 5'000'005}),
            "TOO_LARGE: the record is too large (field publish.records[0]; limit 4,194,304; "
            "actual 5,000,005)");
  EXPECT_EQ(Describe({.kind = ErrorKind::kNotFound, .message = "gone"}), "NOT_FOUND: gone");
  EXPECT_EQ(
      Describe({.kind = ErrorKind::kUnavailable, .message = "draining", .retry_after_ms = 1500}),
      "UNAVAILABLE: draining (try again in 1.5 s)");
}

TEST(Errors, JsonHasWhatIsKnown) {
  const Json json = ErrorJson({.kind = ErrorKind::kOutOfRange,
                               .message = "too low",
                               .queue = "orders",
                               .field = "start.offset",
                               .head_offset = 10,
                               .tail_offset = 20},
                              "try earliest")["error"];
  EXPECT_EQ(json["kind"], "OUT_OF_RANGE");
  EXPECT_EQ(json["queue"], "orders");
  EXPECT_EQ(json["field"], "start.offset");
  EXPECT_EQ(json["head_offset"], 10);
  EXPECT_EQ(json["tail_offset"], 20);
  EXPECT_EQ(json["hint"], "try earliest");
  EXPECT_EQ(json["exit_code"], 8);
  EXPECT_FALSE(json.contains("limit"));
  EXPECT_FALSE(ErrorJson({.kind = ErrorKind::kNotFound}, "")["error"].contains("head_offset"));
}

TEST(Errors, AnUnreachableBrokerIsNamed) {
  const Error refused = WithAddress(
      {.kind = ErrorKind::kUnavailable,
       .message = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "
                  "Failed to connect to remote host: Connection refused"},
      "localhost:1");
  EXPECT_EQ(refused.message.find("no broker answers at localhost:1 (Connection refused); start"),
            0);
  EXPECT_NE(refused.message.find("SPILLWAY_ADDRESS"), std::string::npos);
  // A broker's own refusal is left alone.
  EXPECT_EQ(WithAddress({.kind = ErrorKind::kUnavailable, .message = "draining"}, "x").message,
            "draining");
  EXPECT_EQ(
      WithAddress({.kind = ErrorKind::kNotFound, .message = "failed to connect"}, "x").message,
      "failed to connect");
}

}  // namespace
}  // namespace spillway::cli
