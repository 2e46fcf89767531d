#include "broker/session/state.h"

#include <optional>

#include <gtest/gtest.h>

namespace spillway::session {
namespace {

TEST(State, EveryTransition) {
  using S = State;
  using E = Event;
  struct Row {
    S from;
    std::optional<S> open, data, live, close, opened;
  };
  const auto no = std::nullopt;
  const Row rows[] = {
      {S::kAwaitingOpen, S::kOpening, no, no, no, no},
      {S::kOpening, no, no, S::kOpening, S::kClosingEarly, S::kOpen},
      {S::kClosingEarly, no, no, S::kClosingEarly, no, S::kClosing},
      {S::kOpen, no, S::kOpen, S::kOpen, S::kClosing, no},
      {S::kClosing, no, no, S::kClosing, no, no},
      {S::kEnded, no, no, no, no, no},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(StateName(row.from));
    EXPECT_EQ(Next(row.from, E::kOpenFrame), row.open);
    EXPECT_EQ(Next(row.from, E::kDataFrame), row.data);
    EXPECT_EQ(Next(row.from, E::kLiveFrame), row.live);
    EXPECT_EQ(Next(row.from, E::kCloseFrame), row.close);
    EXPECT_EQ(Next(row.from, E::kOpened), row.opened);
    EXPECT_EQ(Next(row.from, E::kEnd), S::kEnded);
  }
}

}  // namespace
}  // namespace spillway::session
