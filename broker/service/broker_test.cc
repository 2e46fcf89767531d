// The whole broker over a channel, with the log in memory.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "broker/service/test_server.h"

namespace spillway::service {
namespace {

// Settles what a delivery holds.
pb::ConsumeRequest SettleOf(const pb::Delivery& delivery) {
  pb::ConsumeRequest request;
  for (const pb::Delivery::Run& run : delivery.runs()) {
    pb::OffsetRange* range = request.mutable_settle()->add_ranges();
    range->set_first_offset(run.first_offset());
    range->set_count(run.count());
  }
  request.mutable_settle()->set_action(pb::SETTLE_ACTION_ACK);
  return request;
}

template <typename Stream>
void Close(Stream& stream) {
  typename std::conditional_t<std::is_same_v<Stream, PublishStream>, pb::PublishRequest,
                              pb::ConsumeRequest>
      request;
  request.mutable_close();
  stream.Send(request);
  EXPECT_EQ(stream.End().kind(), pb::ERROR_KIND_UNSPECIFIED);
  EXPECT_TRUE(stream.status().ok()) << stream.status().error_message();
}

TEST(Broker, PublishConfirmDeliverSettle) {
  TestServer server(true);
  PublishStream publisher(server);
  const pb::PublishOpened opened = publisher.Open("orders");
  EXPECT_EQ(opened.next_sequence(), 1u);
  EXPECT_FALSE(opened.producer_id().empty());
  ConsumeStream consumer(server);
  consumer.Open("orders");

  constexpr int kBatches = 50, kRecords = 10;
  uint64_t sequence = 1;
  for (int i = 0; i < kBatches; ++i) {
    ASSERT_TRUE(publisher.Send(PublishStream::Batch(sequence, kRecords, 100)));
    sequence += kRecords;
  }
  uint64_t confirmed = 0;
  while (confirmed < sequence - 1) {
    const auto frame = publisher.ReadPastGrants();
    ASSERT_TRUE(frame && frame->has_confirm());
    for (const auto& run : frame->confirm().runs()) {
      EXPECT_EQ(run.first_sequence(), confirmed + 1);
      EXPECT_EQ(run.first_offset(), confirmed);
      confirmed += run.count();
    }
    EXPECT_EQ(frame->confirm().durability(), pb::DURABILITY_SYNCED);
  }
  uint64_t next = 0;
  while (next < sequence - 1) {
    const auto frame = consumer.Read();
    ASSERT_TRUE(frame && frame->has_delivery());
    uint64_t records = 0;
    for (const auto& run : frame->delivery().runs()) {
      EXPECT_EQ(run.first_offset(), next);
      EXPECT_EQ(run.attempt(), 1u);
      next += run.count();
      records += run.count();
    }
    EXPECT_EQ(frame->delivery().records_size(), static_cast<int>(records));
    ASSERT_TRUE(consumer.Send(SettleOf(frame->delivery())));
  }
  Close(consumer);
  Close(publisher);

  pb::GetQueueRequest get;
  get.set_name("orders");
  pb::GetQueueResponse got;
  grpc::ClientContext context;
  ASSERT_TRUE(server.admin_->GetQueue(&context, get, &got).ok());
  EXPECT_EQ(got.queue().stats().tail_offset(), sequence - 1);
  EXPECT_EQ(got.queue().stats().settled_through_offset(), sequence - 1);
  EXPECT_EQ(got.queue().stats().depth_messages(), 0u);
}

TEST(Broker, ResendingIsRecognised) {
  TestServer server(true);
  std::string producer;
  {
    PublishStream publisher(server);
    producer = publisher.Open("q").producer_id();
    publisher.Send(PublishStream::Batch(1, 5));
    ASSERT_TRUE(publisher.ReadPastGrants());
  }
  PublishStream again(server);
  EXPECT_EQ(again.Open("q", producer).next_sequence(), 6u);
  again.Send(PublishStream::Batch(1, 5));
  const auto frame = again.ReadPastGrants();
  ASSERT_TRUE(frame && frame->has_confirm());
  EXPECT_TRUE(frame->confirm().runs(0).duplicate());
  EXPECT_EQ(frame->confirm().runs(0).first_offset(), 0u);
}

TEST(Broker, UnsettledRecordsGoToTheNextMember) {
  TestServer server(true);
  PublishStream publisher(server);
  publisher.Open("q");
  publisher.Send(PublishStream::Batch(1, 3));
  {
    ConsumeStream consumer(server);
    consumer.Open("q");
    const auto frame = consumer.Read();
    ASSERT_TRUE(frame && frame->has_delivery());
  }
  ConsumeStream next(server);
  next.Open("q");
  const auto frame = next.Read();
  ASSERT_TRUE(frame && frame->has_delivery());
  EXPECT_EQ(frame->delivery().records_size(), 3);
  EXPECT_EQ(frame->delivery().runs(0).attempt(), 2u);
}

TEST(Broker, AReaderReplaysAndEnds) {
  TestServer server(true);
  PublishStream publisher(server);
  publisher.Open("q");
  publisher.Send(PublishStream::Batch(1, 20));
  ASSERT_TRUE(publisher.ReadPastGrants());

  ConsumeStream reader(server);
  pb::ConsumeRequest open;
  open.mutable_open()->set_protocol(1);
  open.mutable_open()->set_queue("q");
  open.mutable_open()->mutable_limit()->set_messages(100);
  open.mutable_open()->mutable_limit()->set_bytes(1 << 20);
  open.mutable_open()->mutable_reader()->mutable_start()->set_offset(5);
  open.mutable_open()->mutable_reader()->mutable_stop()->set_offset(15);
  reader.Send(open);
  ASSERT_TRUE(reader.Read()->has_opened());
  int records = 0;
  std::optional<pb::ConsumeResponse> frame;
  while ((frame = reader.Read()) && frame->has_delivery()) {
    records += frame->delivery().records_size();
  }
  EXPECT_EQ(records, 10);
  ASSERT_TRUE(frame && frame->has_end());
  EXPECT_EQ(frame->end().next_offset(), 15u);
  EXPECT_EQ(reader.End().kind(), pb::ERROR_KIND_UNSPECIFIED);
  EXPECT_TRUE(reader.status().ok());
}

TEST(Broker, CreditBoundsDelivery) {
  TestServer server(true);
  PublishStream publisher(server);
  publisher.Open("q");
  publisher.Send(PublishStream::Batch(1, 20));
  ConsumeStream consumer(server);
  const uint64_t epoch = consumer.Open("q", 4).epoch();
  int records = 0;
  while (records < 4) {
    const auto frame = consumer.Read();
    ASSERT_TRUE(frame && frame->has_delivery());
    records += frame->delivery().records_size();
  }
  EXPECT_EQ(records, 4);
  pb::ConsumeRequest grant;
  grant.mutable_grant()->set_epoch(epoch);
  grant.mutable_grant()->mutable_limit()->set_messages(20);
  grant.mutable_grant()->mutable_limit()->set_bytes(uint64_t{1} << 40);
  consumer.Send(grant);
  while (records < 20) {
    const auto frame = consumer.Read();
    ASSERT_TRUE(frame && frame->has_delivery());
    records += frame->delivery().records_size();
  }
  EXPECT_EQ(records, 20);
  // A limit that falls ends the stream.
  grant.mutable_grant()->mutable_limit()->set_messages(19);
  consumer.Send(grant);
  EXPECT_EQ(consumer.End().kind(), pb::ERROR_KIND_CREDIT_REGRESSED);
}

TEST(Broker, PingsAgreeWithTheLedger) {
  TestServer server(true);
  PublishStream publisher(server);
  const uint64_t epoch = publisher.Open("q").epoch();
  publisher.Send(PublishStream::Batch(1, 4));
  pb::PublishRequest ping;
  ping.mutable_ping()->set_id(1);
  ping.mutable_ping()->set_epoch(epoch);
  ping.mutable_ping()->mutable_sent()->set_messages(4);
  ping.mutable_ping()->mutable_sent()->set_bytes(20);
  publisher.Send(ping);
  for (int i = 0; i < 10; ++i) {
    const auto frame = publisher.Read();
    ASSERT_TRUE(frame) << publisher.End().message();
    if (!frame->has_pong()) continue;
    EXPECT_EQ(frame->pong().received().messages(), 4u);
    return;
  }
  FAIL() << "no pong";
}

TEST(Broker, DrainFinishesAndEndsStreams) {
  TestServer server(true);
  PublishStream publisher(server);
  publisher.Open("q");
  publisher.Send(PublishStream::Batch(1, 4));
  ASSERT_TRUE(publisher.ReadPastGrants());
  const auto drained = std::make_shared<std::atomic<bool>>(false);
  server.server_->Drain([drained] { *drained = true; });
  auto frame = publisher.ReadPastGrants();
  ASSERT_TRUE(frame && frame->has_drain());
  Close(publisher);
  EXPECT_TRUE(Eventually([&] { return drained->load(); }));
}

}  // namespace
}  // namespace spillway::service
