#include "tests/bench/peers/cpp/client.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

namespace spillway::bench {
namespace {

constexpr int64_t kSize = 100;

TEST(Payloads, CarryTheirNumberAndTime) {
  Payloads payloads(kSize, /*window=*/2);
  const std::string_view first = payloads.At(0, 7);
  EXPECT_EQ(first.size(), 100);
  EXPECT_EQ(first.substr(50), std::string(50, '\0'));
  EXPECT_NE(first.substr(16, 34), std::string(34, '\0'));
  // A slot is used again after twice the window.
  for (int64_t n = 1; n < 4; ++n) EXPECT_NE(payloads.At(n, 7).data(), first.data());
  EXPECT_EQ(payloads.At(4, 9).data(), first.data());
  EXPECT_EQ(HeaderOf(first).number, 4);
  EXPECT_EQ(HeaderOf(first).intended, 9);
}

class LedgerTest : public testing::Test {
 protected:
  bool Take(int64_t number) { return ledger_.Take(payloads_.At(number, 0), header_); }
  std::string Wrong(int64_t sent) const {
    try {
      ledger_.Check(sent);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  }

  Payloads payloads_{kSize, 4};
  Ledger ledger_{kSize};
  PayloadHeader header_;
};

TEST_F(LedgerTest, AllOnceInAnyOrder) {
  for (const int64_t n : {2, 0, 1}) EXPECT_TRUE(Take(n));
  EXPECT_EQ(Wrong(3), "");
  EXPECT_EQ(Wrong(4), "1 messages did not come");
  EXPECT_EQ(Wrong(2), "1 messages came that were not sent");
}

TEST_F(LedgerTest, ADoubledOne) {
  EXPECT_TRUE(Take(0));
  EXPECT_FALSE(Take(0));
  EXPECT_EQ(Wrong(1), "1 messages came twice");
}

TEST_F(LedgerTest, OneThatStandsForAnother) {
  Take(0);
  Take(5);
  EXPECT_EQ(Wrong(2), "5: a message of this number was not sent");
}

TEST_F(LedgerTest, OneOfAnotherSizeOrNumber) {
  EXPECT_FALSE(ledger_.Take("short", header_));
  std::string below(payloads_.At(0, 0));
  const int64_t number = -1;
  std::memcpy(below.data(), &number, sizeof number);
  EXPECT_FALSE(ledger_.Take(below, header_));
  EXPECT_EQ(Wrong(0), "2 messages came that were not sent");
}

TEST(ReaderTest, TimesFromTheIntendedMoment) {
  Payloads payloads(kSize, 2);
  Reader reader(kSize);
  reader.Expect(2);
  const int64_t now = NanosSince(reader.epoch());
  reader.TimeFrom(now - 5'000'000);
  reader.Take(payloads.At(0, now - 6'000'000));  // was to be sent too early to count
  reader.Take(payloads.At(1, now - 5'000'000));
  ASSERT_EQ(reader.latencies().size(), 1);
  EXPECT_GE(reader.latencies()[0], 5000);
  EXPECT_GE(reader.seconds(), 0);
}

TEST(QuantileTest, OfValuesInAnyOrder) {
  std::vector<uint32_t> values;
  for (uint32_t v = 1000; v > 0; --v) values.push_back(v);
  EXPECT_EQ(Quantile(values, 0.5), 500);
  EXPECT_EQ(Quantile(values, 0.99), 990);
  EXPECT_EQ(Quantile(values, 0.999), 999);
  std::vector<uint32_t> one = {7};
  EXPECT_EQ(Quantile(one, 0.999), 7);
}

TEST(ProgressTest, WakesWhoHasWhatItWaitsFor) {
  Progress progress;
  std::thread counting([&] {
    for (int i = 0; i < 1000; ++i) progress.Acked(1);
    for (int i = 0; i < 1000; ++i) progress.Received(1);
  });
  EXPECT_TRUE(progress.WaitFor(1000, 1000, Seconds(60)));
  counting.join();
  EXPECT_FALSE(progress.WaitFor(1001, 0, Seconds(0.001)));
}

TEST(ProgressTest, FailureAndStopEndAWait) {
  Progress progress;
  progress.Stop();
  EXPECT_FALSE(progress.WaitFor(1, 0, Seconds(60), /*stoppable=*/true));
  std::thread failing([&] { progress.Failed("refused"); });
  EXPECT_THROW(progress.WaitFor(1, 0, Seconds(60)), std::runtime_error);
  failing.join();
  EXPECT_THROW(progress.Check(), std::runtime_error);
}

}  // namespace
}  // namespace spillway::bench
