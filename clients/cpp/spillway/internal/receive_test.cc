// What a consumer holds, and how much it lets come.
#include <gtest/gtest.h>

#include <memory>

#include "clients/cpp/spillway/internal/in_flight.h"
#include "clients/cpp/spillway/internal/receive_window.h"
#include "clients/cpp/spillway/internal/wire.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::client::internal {
namespace {

TEST(ReceiveWindow, GrantsWhatWasSettledPlusTheWindow) {
  ReceiveWindow window({10, 1000});
  EXPECT_EQ(window.Open({}), (Credit{10, 1000}));
  window.Received({10, 500});
  EXPECT_FALSE(window.Due());
  EXPECT_FALSE(window.Riding().has_value());
  window.Released({4, 200});
  EXPECT_FALSE(window.Due()) << "less than half";
  window.Released({1, 50});
  EXPECT_TRUE(window.Due()) << "half";
  EXPECT_EQ(*window.Riding(), (Credit{15, 1250}));
  EXPECT_FALSE(window.Riding().has_value()) << "no news";
}

TEST(ReceiveWindow, WhatIsHeldNarrowsTheNewEpoch) {
  ReceiveWindow window({10, 1000});
  window.Open({});
  EXPECT_EQ(window.Open({4, 900}), (Credit{6, 100}));
  window.HeldReleased({4, 900});
  EXPECT_EQ(*window.Riding(), (Credit{10, 1000})) << "held records do not count in the epoch";
  window.Received({3, 30});
  window.Released({3, 30});
  EXPECT_EQ(*window.Riding(), (Credit{13, 1030}));
  EXPECT_EQ(window.Open({20, 5000}), (Credit{0, 0})) << "never below zero";
}

TEST(ReceiveWindow, AsksForNoMoreThanIsWanted) {
  ReceiveWindow window({10, 1000}, 12);
  EXPECT_EQ(window.Open({}), (Credit{10, 1000}));
  window.Received({10, 100});
  window.Released({8, 80});
  EXPECT_EQ(window.Riding(), (Credit{12, 1080}));
  window.Received({1, 10});
  window.Released({3, 30});
  EXPECT_EQ(window.Riding(), (Credit{12, 1110}));
  // Eleven came; the twelfth may come after a reconnect, and what is taken back again.
  EXPECT_EQ(window.Open({}), (Credit{1, 1000}));
  window.Refund(2);
  EXPECT_EQ(window.Riding(), (Credit{3, 1000}));
}

TEST(ReceiveWindow, WidensToOneLargestMessage) {
  ReceiveWindow window({10, 1000});
  window.Open({});
  window.AtLeast(4000);
  EXPECT_EQ(*window.Riding(), (Credit{10, 4000}));
  window.AtLeast(2000);
  EXPECT_FALSE(window.Riding().has_value());
}

// A delivery frame with runs of the given (first offset, count), records of 10 bytes.
std::shared_ptr<FrameIndex> Frame(const std::vector<std::pair<uint64_t, uint32_t>>& runs) {
  v1::ConsumeResponse response;
  for (const auto& [first, count] : runs) {
    v1::Delivery::Run* run = response.mutable_delivery()->add_runs();
    run->set_first_offset(first);
    run->set_count(count);
    for (uint32_t i = 0; i < count; ++i) {
      response.mutable_delivery()->add_records()->set_payload("12345678");
    }
  }
  auto index = std::make_shared<FrameIndex>();
  EXPECT_TRUE(ParseDelivery(response.SerializeAsString(), index.get()));
  return index;
}

TEST(InFlight, TakesRangesOnce) {
  InFlight in_flight;
  const auto frame = Frame({{10, 5}, {20, 5}});
  for (const FrameIndex::Run& run : frame->runs) in_flight.Add(1, 7, run, frame);
  EXPECT_EQ(in_flight.Cost(), (Credit{10, 100}));
  InFlight::Taken taken;
  in_flight.Take({12, 10}, 1, 7, &taken);  // 12 to 14 and 20 to 21
  EXPECT_EQ(taken.ranges, (std::vector<OffsetRange>{{12, 3}, {20, 2}}));
  EXPECT_EQ(taken.current, (Credit{5, 50}));
  EXPECT_EQ(in_flight.Ranges(), (std::vector<OffsetRange>{{10, 2}, {22, 3}}));
  InFlight::Taken again;
  in_flight.Take({12, 10}, 1, 7, &again);
  EXPECT_EQ(again.ranges, (std::vector<OffsetRange>{}));
}

TEST(InFlight, ALaterDeliveryIsNotSettledByAnEarlierBatch) {
  InFlight in_flight;
  const auto frame = Frame({{10, 5}});
  in_flight.Add(1, 7, frame->runs[0], frame);
  in_flight.Add(2, 7, frame->runs[0], frame);  // revoked and delivered again
  InFlight::Taken taken;
  in_flight.Take({10, 5}, 1, 7, &taken);
  EXPECT_TRUE(taken.ranges.empty());
  in_flight.Take({10, 5}, 2, 8, &taken);
  EXPECT_EQ(taken.held, (Credit{5, 50})) << "received before this epoch";
  EXPECT_TRUE(taken.current.zero());
}

TEST(InFlight, SplitsARunInTheMiddle) {
  InFlight in_flight;
  const auto frame = Frame({{0, 100}});
  in_flight.Add(1, 1, frame->runs[0], frame);
  InFlight::Taken taken;
  in_flight.Take({40, 20}, 1, 1, &taken);
  EXPECT_EQ(in_flight.Ranges(), (std::vector<OffsetRange>{{0, 40}, {60, 40}}));
  in_flight.Take({0, 100}, 1, 1, &taken);
  EXPECT_EQ(taken.current, (Credit{100, 1000}));
  EXPECT_TRUE(in_flight.empty());
}

TEST(ParseDelivery, RefusesWhatDoesNotAddUp) {
  v1::ConsumeResponse response;
  v1::Delivery::Run* run = response.mutable_delivery()->add_runs();
  run->set_first_offset(1);
  run->set_count(2);
  response.mutable_delivery()->add_records()->set_payload("x");
  FrameIndex index;
  EXPECT_FALSE(ParseDelivery(response.SerializeAsString(), &index));
  std::string cut = response.SerializeAsString();
  cut.pop_back();
  EXPECT_FALSE(ParseDelivery(cut, &index));
  EXPECT_FALSE(ParseDelivery("", &index));
}

TEST(ParseDelivery, SkipsFieldsOfALaterVersion) {
  v1::ConsumeResponse response;
  v1::Delivery::Run* run = response.mutable_delivery()->add_runs();
  run->set_first_offset(3);
  run->set_count(1);
  run->set_attempt(2);
  response.mutable_delivery()->add_records()->set_payload("x");
  response.mutable_delivery()->set_partition(4);
  v1::Delivery* delivery = response.mutable_delivery();
  delivery->GetReflection()->MutableUnknownFields(delivery)->AddLengthDelimited(14)->assign(
      "later");
  FrameIndex index;
  ASSERT_TRUE(ParseDelivery(response.SerializeAsString(), &index));
  EXPECT_EQ(index.runs[0].attempt, 2U);
  EXPECT_EQ(index.cost, (Credit{1, 3}));
}

}  // namespace
}  // namespace spillway::client::internal
