#include "clients/cpp/spillway/internal/publish_log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "spillway/v1/broker.pb.h"

namespace spillway::client::internal {
namespace {

v1::PublishBatch Decode(const grpc::ByteBuffer& frame) {
  grpc::Slice slice;
  EXPECT_TRUE(Flatten(frame, &slice));
  v1::PublishRequest request;
  EXPECT_TRUE(request.ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
  EXPECT_TRUE(request.has_publish());
  return request.publish();
}

// A message whose encoded record has `bytes` bytes (3 or more).
struct Sized {
  explicit Sized(uint64_t bytes) : payload(bytes, 'x') {
    while (EncodedBytes({.payload = payload}) > bytes) payload.pop_back();
    EXPECT_EQ(EncodedBytes({.payload = payload}), bytes);
  }
  Message message() const { return {.payload = payload}; }
  std::string payload;
};

EncodedBatch Batch100(uint32_t n) {
  BatchBuilder builder;
  const Sized record(100);
  for (uint32_t i = 0; i < n; ++i) builder.Add(record.message());
  return builder.Build();
}

TEST(PublishLog, CreditIsExact) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({10, 100}));
  EXPECT_TRUE(log.Fits({1, 100}));
  EXPECT_FALSE(log.Fits({1, 101}));
  EXPECT_FALSE(log.Fits({11, 1}));
  log.Append(Sized(100).message(), nullptr);
  EXPECT_EQ(log.available(), (Credit{9, 0}));
  EXPECT_TRUE(log.Fits({0, 0}));
  EXPECT_FALSE(log.Fits({1, 1}));
  ASSERT_TRUE(log.Next().has_value());
  EXPECT_EQ(log.sent(), (Credit{1, 100}));
  EXPECT_FALSE(log.Grant({10, 99})) << "a total must not fall";
  EXPECT_TRUE(log.Grant({10, 100})) << "a repeated grant is harmless";
}

TEST(PublishLog, EncodesWhatProtobufReads) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 7).ok());
  ASSERT_TRUE(log.Grant({10, 1000}));
  const Header headers[] = {{"a", "1"}, {"a", ""}};
  log.Append({.payload = "hello", .key = "k", .headers = headers}, nullptr);
  log.Append({}, nullptr);
  const v1::PublishBatch batch = Decode(*log.Next());
  EXPECT_EQ(batch.first_sequence(), 7U);
  ASSERT_EQ(batch.records_size(), 2);
  EXPECT_EQ(batch.records(0).payload(), "hello");
  EXPECT_EQ(batch.records(0).key(), "k");
  EXPECT_EQ(batch.records(0).headers_size(), 2);
  EXPECT_EQ(batch.records(0).ByteSizeLong() + batch.records(1).ByteSizeLong(), log.sent().bytes);
}

TEST(PublishLog, ConfirmsOnceWithRisingOffsets) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({10, 1000}));
  std::vector<uint64_t> offsets;
  const auto note = [&](const Result<Published>& r) { offsets.push_back(r.ok() ? r->offset : 0); };
  for (int i = 0; i < 3; ++i) log.Append(Sized(100).message(), note);
  ASSERT_TRUE(log.Next().has_value());
  std::vector<Answer> answers;
  log.Confirm(1, 1, {.offset = 40}, &answers);
  log.Confirm(1, 3, {.offset = 40}, &answers);  // again, and more
  for (const Answer& answer : answers) answer.Call();
  EXPECT_EQ(offsets, (std::vector<uint64_t>{40, 41, 42}));
  EXPECT_EQ(log.unanswered(), 0U);
  EXPECT_TRUE(log.idle());
}

TEST(PublishLog, RefuseInTheMiddle) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({10, 1000}));
  std::vector<std::string> seen;
  const auto callback = std::make_shared<BatchCallback>(
      [&](uint32_t first, uint32_t count, const Result<Published>& r) {
        seen.push_back(std::to_string(first) + "+" + std::to_string(count) +
                       (r.ok() ? "@" + std::to_string(r->offset) : " refused"));
      });
  log.Append(Batch100(4), 0, 4, callback);
  ASSERT_TRUE(log.Next().has_value());
  std::vector<Answer> answers;
  log.Refuse(2, 1, {.kind = ErrorKind::kTooLarge}, &answers);
  log.Confirm(1, 1, {.offset = 5}, &answers);
  log.Confirm(3, 2, {.offset = 6}, &answers);
  for (const Answer& answer : answers) answer.Call();
  EXPECT_EQ(seen, (std::vector<std::string>{"1+1 refused", "0+1@5", "2+2@6"}));
  EXPECT_TRUE(log.idle());
}

TEST(PublishLog, ResumesTwiceInOriginalBoundaries) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({100, 10'000}));
  log.Append(Batch100(3), 0, 3, nullptr);
  log.Append(Batch100(2), 0, 2, nullptr);
  ASSERT_TRUE(log.Next() && log.Next());
  EXPECT_EQ(log.resume_sequence(), 6U);
  for (uint64_t epoch = 2; epoch <= 3; ++epoch) {
    log.Broken();
    EXPECT_EQ(log.resume_sequence(), 1U);
    ASSERT_TRUE(log.Opened(epoch, 4).ok()) << "the first batch was accepted";
    EXPECT_FALSE(log.Next().has_value()) << "no credit of the new epoch yet";
    ASSERT_TRUE(log.Grant({4, 10'000}));
    v1::PublishBatch batch = Decode(*log.Next());
    EXPECT_EQ(batch.first_sequence(), 1U);
    EXPECT_EQ(batch.records_size(), 3);
    EXPECT_FALSE(log.Next().has_value()) << "the second waits for credit as a whole";
    ASSERT_TRUE(log.Grant({5, 10'000}));
    batch = Decode(*log.Next());
    EXPECT_EQ(batch.first_sequence(), 4U);
    EXPECT_EQ(batch.records_size(), 2);
    EXPECT_EQ(log.sent(), (Credit{5, 500}));
  }
  std::vector<Answer> answers;
  log.Confirm(1, 3, {.offset = 0, .duplicate = true}, &answers);
  log.Confirm(4, 2, {.offset = 3}, &answers);
  EXPECT_EQ(log.unanswered(), 0U);
  EXPECT_EQ(log.next_sequence(), 6U);
}

TEST(PublishLog, ABatchLargerThanTheCreditGoesInPieces) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({100, 10'000}));
  log.Append(Batch100(5), 0, 5, nullptr);
  ASSERT_TRUE(log.Next().has_value());
  log.Broken();
  ASSERT_TRUE(log.Opened(2, 1).ok());
  ASSERT_TRUE(log.Grant({2, 10'000}));  // the window was lowered
  v1::PublishBatch batch = Decode(*log.Next());
  EXPECT_EQ(batch.records_size(), 2);
  ASSERT_TRUE(log.Grant({4, 10'000}));
  EXPECT_FALSE(log.Next().has_value()) << "while something is on its way, it waits";
  std::vector<Answer> answers;
  log.Confirm(1, 2, {}, &answers);
  batch = Decode(*log.Next());
  EXPECT_EQ(batch.first_sequence(), 3U);
  EXPECT_EQ(batch.records_size(), 2);
}

TEST(PublishLog, ForgottenProducerIsNumberedAnew) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({100, 10'000}));
  std::vector<Answer> answers;
  log.Append(Batch100(3), 0, 3, nullptr);
  ASSERT_TRUE(log.Next().has_value());
  log.Confirm(1, 3, {}, &answers);
  log.Append(Batch100(2), 0, 2, nullptr);
  ASSERT_TRUE(log.Next().has_value());
  log.Broken();
  ASSERT_TRUE(log.Opened(2, 1).ok());
  ASSERT_TRUE(log.Grant({100, 10'000}));
  EXPECT_EQ(Decode(*log.Next()).first_sequence(), 1U);
  EXPECT_EQ(log.next_sequence(), 3U);
}

TEST(PublishLog, AnotherProducerWithTheSameId) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({100, 10'000}));
  log.Append(Batch100(2), 0, 2, nullptr);
  ASSERT_TRUE(log.Next().has_value());
  log.Broken();
  const Status status = log.Opened(2, 9);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::kFenced);
}

TEST(PublishLog, FramesKeepTheBrokersBounds) {
  PublishLog log;
  log.SetFrameLimits(1000, 4);
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({100, 100'000}));
  log.Append(Batch100(6), 0, 6, nullptr);
  EXPECT_EQ(Decode(*log.Next()).records_size(), 4) << "by records";
  EXPECT_EQ(Decode(*log.Next()).records_size(), 2);
  for (int i = 0; i < 3; ++i) log.Append(Sized(400).message(), nullptr);
  const std::optional<grpc::ByteBuffer> frame = log.Next();
  EXPECT_EQ(Decode(*frame).records_size(), 2) << "by bytes";
  EXPECT_LE(frame->Length(), 1000U);
  log.Append(Sized(5000).message(), nullptr);
  EXPECT_EQ(Decode(*log.Next()).records_size(), 1);
  EXPECT_EQ(Decode(*log.Next()).records_size(), 1) << "one record may exceed the bound";
}

TEST(PublishLog, DemandIsStatedOnce) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({10, 100}));
  EXPECT_FALSE(log.NextDemand({}, 0).has_value());
  auto demand = log.NextDemand({1, 300}, 300);
  ASSERT_TRUE(demand.has_value());
  EXPECT_EQ(demand->waiting, (Credit{0, 200}));
  EXPECT_EQ(demand->next_record_bytes, 300U);
  EXPECT_FALSE(log.NextDemand({1, 300}, 300).has_value());
  ASSERT_TRUE(log.Grant({10, 200}));
  EXPECT_FALSE(log.NextDemand({1, 300}, 300).has_value()) << "the broker knows the rest";
  EXPECT_TRUE(log.NextDemand({2, 400}, 300).has_value()) << "more waits";
  demand = log.NextDemand({}, 0);
  ASSERT_TRUE(demand.has_value()) << "given up";
  EXPECT_TRUE(demand->waiting.zero());
  ASSERT_TRUE(log.NextDemand({1, 300}, 300).has_value());
  ASSERT_TRUE(log.Grant({10, 300}));
  EXPECT_FALSE(log.NextDemand({1, 300}, 300).has_value()) << "met, which needs no word";
}

TEST(PublishLog, GivesBackWhatOthersWaitFor) {
  PublishLog log;
  ASSERT_TRUE(log.Opened(1, 1).ok());
  ASSERT_TRUE(log.Grant({10, 1000}));
  log.Append(Sized(100).message(), nullptr);
  ASSERT_TRUE(log.Next().has_value());
  EXPECT_FALSE(log.NextDemand({}, 0).has_value()) << "nobody asks";
  auto demand = log.NextDemand({}, 0, true);
  ASSERT_TRUE(demand.has_value());
  EXPECT_TRUE(demand->waiting.zero());
  EXPECT_EQ(demand->returned, (Credit{9, 900}));
  EXPECT_FALSE(log.Fits({1, 3})) << "it is not this one's any more";
  EXPECT_TRUE(log.available().zero());
  EXPECT_FALSE(log.NextDemand({}, 0, true).has_value());
  // A grant that crossed the return on the wire means the same to both.
  ASSERT_TRUE(log.Grant({12, 1200}));
  EXPECT_EQ(log.available(), (Credit{2, 200}));
  // What waits and fits is about to be sent; what does not fit leaves it unused.
  EXPECT_FALSE(log.NextDemand({1, 100}, 100, true).has_value());
  demand = log.NextDemand({1, 251}, 251, true);
  ASSERT_TRUE(demand.has_value());
  EXPECT_EQ(demand->waiting, (Credit{1, 251}));
  EXPECT_EQ(demand->returned, (Credit{11, 1100}));
  // Of an earlier epoch and stuck: what is left beside it goes back, too.
  ASSERT_TRUE(log.Grant({13, 1450}));
  log.Append(Sized(250).message(), nullptr);
  ASSERT_TRUE(log.Next().has_value());
  log.Broken();
  ASSERT_TRUE(log.Opened(2, 2).ok());
  ASSERT_TRUE(log.Grant({2, 200}));
  ASSERT_TRUE(log.Next().has_value()) << "the first";
  demand = log.NextDemand({}, 0, true);
  ASSERT_TRUE(demand.has_value());
  EXPECT_EQ(demand->next_record_bytes, 250U);
  EXPECT_EQ(demand->returned, (Credit{1, 100}));
  EXPECT_EQ(demand->waiting, (Credit{1, 250}));
  ASSERT_TRUE(log.Grant({3, 450}));
  EXPECT_TRUE(log.Next().has_value());
}

}  // namespace
}  // namespace spillway::client::internal
