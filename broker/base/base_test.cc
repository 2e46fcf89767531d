#include <gtest/gtest.h>

#include <set>

#include "broker/base/clock.h"
#include "broker/base/idle_poll.h"
#include "broker/base/ids.h"
#include "broker/base/random.h"

namespace spillway {
namespace {

TEST(Random, RepeatsBySeedAndStaysInRange) {
  Random a(7), b(7), c(8);
  EXPECT_EQ(a.Next(), b.Next());
  EXPECT_NE(a.Next(), c.Next());
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(a.Below(10), 10u);
    const double unit = a.Unit();
    EXPECT_GE(unit, 0.0);
    EXPECT_LT(unit, 1.0);
  }
}

TEST(Names, FollowTheRule) {
  EXPECT_TRUE(IsValidName("orders.eu-1_x"));
  EXPECT_TRUE(IsValidName(std::string(255, 'a')));
  EXPECT_FALSE(IsValidName(""));
  EXPECT_FALSE(IsValidName(".hidden"));
  EXPECT_FALSE(IsValidName("a/b"));
  EXPECT_FALSE(IsValidName("a b"));
  EXPECT_FALSE(IsValidName("\xc3\xa9"));
  EXPECT_FALSE(IsValidName(std::string(256, 'a')));
}

TEST(Names, MadeOnesAreValidAndDiffer) {
  Random random(1);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = MakeId("p", random);
    EXPECT_TRUE(IsValidName(id)) << id;
    EXPECT_EQ(id.size(), 18u);
    EXPECT_TRUE(seen.insert(id).second);
  }
}

constexpr MonoNanos kMicro = 1'000;
constexpr MonoNanos kStart = 1'000'000 * kMicro;

TEST(IdlePoll, GrowsWhileWhatIsWaitedForComesSoonAfterIt) {
  IdlePoll poll(100 * kMicro);
  EXPECT_EQ(poll.span(), 0);
  for (int i = 0; i < 10; ++i) poll.Waited(90 * kMicro, kStart);
  EXPECT_GE(poll.span(), 90 * kMicro);
  EXPECT_LE(poll.span(), 100 * kMicro);
  const MonoNanos enough = poll.span();
  poll.Waited(enough, kStart);  // it came while it was polled for
  EXPECT_EQ(poll.span(), enough);
}

TEST(IdlePoll, StopsWhenNothingComes) {
  IdlePoll poll(100 * kMicro);
  for (int i = 0; i < 10; ++i) poll.Waited(90 * kMicro, kStart);
  MonoNanos wasted = 0;
  for (int i = 0; i < 10; ++i) {
    wasted += poll.span();
    poll.Waited(5'000 * kMicro, kStart);
  }
  EXPECT_EQ(poll.span(), 0);
  EXPECT_LT(wasted, 300 * kMicro);
}

// How long it is until it polls again after the core was taken from it.
MonoNanos PauseAfter(IdlePoll& poll, MonoNanos now) {
  poll.Yielded(3'000 * kMicro, now);
  MonoNanos later = now;
  while (poll.span() == 0) poll.Waited(90 * kMicro, later += 10'000 * kMicro);
  return later - now;
}

TEST(IdlePoll, LeavesTheCoreToWhoTakesIt) {
  IdlePoll poll(100 * kMicro);
  for (int i = 0; i < 10; ++i) poll.Waited(90 * kMicro, kStart);
  poll.Yielded(2 * kMicro, kStart);
  EXPECT_GT(poll.span(), 0) << "nobody took it";
  MonoNanos now = kStart;
  MonoNanos last = 0;
  for (int i = 0; i < 20; ++i) {
    const MonoNanos pause = PauseAfter(poll, now);
    EXPECT_GE(pause, last);
    EXPECT_LE(pause, 10'100'000 * kMicro);
    now += last = pause;
  }
  EXPECT_GE(last, 10'000'000 * kMicro);
  EXPECT_LT(PauseAfter(poll, now + 60'000'000 * kMicro), 200'000 * kMicro) << "forgotten";
}

TEST(IdlePoll, NeverPollsWhereItMayNot) {
  IdlePoll poll(0);
  for (int i = 0; i < 10; ++i) poll.Waited(1, kStart);
  EXPECT_EQ(poll.span(), 0);
}

TEST(RealClock, GoesForward) {
  RealClock clock;
  const Now a = clock.Read();
  const Now b = clock.Read();
  EXPECT_LE(a.mono, b.mono);
  EXPECT_GT(a.unix_ms, 1'600'000'000'000u);
}

}  // namespace
}  // namespace spillway
