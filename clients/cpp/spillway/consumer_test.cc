// Consumers and readers against a broker that plays scripts.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/spillway/client.h"
#include "clients/cpp/testing/scripted_broker.h"

namespace spillway::client {
namespace {

using testing::ScriptedBroker;
using Stream = ScriptedBroker::ConsumeStream;

void SendOpened(Stream* stream, uint64_t epoch, uint64_t start, uint64_t tail) {
  v1::ConsumeResponse response;
  response.mutable_opened()->set_protocol(1);
  response.mutable_opened()->set_epoch(epoch);
  response.mutable_opened()->set_start_offset(start);
  response.mutable_opened()->set_tail_offset(tail);
  stream->Write(response);
}

void SendRecords(Stream* stream, uint64_t first, uint32_t count,
                 const std::string& payload = "abc") {
  v1::ConsumeResponse response;
  v1::Delivery::Run* run = response.mutable_delivery()->add_runs();
  run->set_first_offset(first);
  run->set_count(count);
  run->set_attempt(1);
  for (uint32_t i = 0; i < count; ++i)
    response.mutable_delivery()->add_records()->set_payload(payload);
  stream->Write(response);
}

v1::ConsumeRequest ReadA(Stream* stream, v1::ConsumeRequest::FrameCase kind) {
  v1::ConsumeRequest request;
  while (stream->Read(&request)) {
    if (request.frame_case() == kind) return request;
  }
  return {};
}

void SendRevoke(Stream* stream, uint64_t first, uint64_t count) {
  v1::ConsumeResponse response;
  response.mutable_revoke()->set_reason(v1::REVOKE_REASON_STALE);
  response.mutable_revoke()->add_ranges()->set_first_offset(first);
  response.mutable_revoke()->mutable_ranges(0)->set_count(count);
  stream->Write(response);
}

// The next settle, or an empty one at the Close; Pings are answered meanwhile.
v1::Settle NextSettle(Stream* stream) {
  v1::ConsumeRequest request;
  while (stream->Read(&request)) {
    if (request.has_settle()) return request.settle();
    if (request.has_close()) break;
    if (!request.has_ping()) continue;
    v1::ConsumeResponse response;
    response.mutable_pong()->set_id(request.ping().id());
    response.mutable_pong()->set_epoch(request.ping().epoch());
    stream->Write(response);
  }
  return {};
}

// The client closes once all is settled again, which takes a Pong.
void UntilSettledAndClosed(Stream* stream) {
  while (NextSettle(stream).ranges_size() > 0) {
  }
}

void UntilClose(Stream* stream) { ReadA(stream, v1::ConsumeRequest::kClose); }

ConsumerOptions Options(uint64_t max_in_flight = 10) {
  ConsumerOptions options;
  options.queue = "q";
  options.group = "g";
  options.max_in_flight_messages = max_in_flight;
  return options;
}

TEST(Consumer, SettlesWithAGrant) {
  std::promise<v1::Settle> settled;
  ScriptedBroker broker({[&](Stream* stream) {
    const v1::ConsumeOpen open = ReadA(stream, v1::ConsumeRequest::kOpen).open();
    EXPECT_EQ(open.group().group(), "g");
    EXPECT_EQ(open.limit().messages(), 10U);
    EXPECT_EQ(open.group().held_size(), 0);
    SendOpened(stream, 3, 100, 110);
    SendRecords(stream, 100, 4);
    settled.set_value(ReadA(stream, v1::ConsumeRequest::kSettle).settle());
    UntilClose(stream);
    return grpc::Status::OK;
  }});
  Client client = *Client::Make(broker.Options());
  auto consumer = *client.OpenConsumer(Options());
  {
    auto batch = consumer.Next();
    ASSERT_TRUE(batch.ok() && batch->has_value());
    EXPECT_EQ((*batch)->size(), 4U);
    EXPECT_EQ((**batch)[2].offset(), 102U);
    EXPECT_EQ((**batch)[2].payload(), "abc");
    EXPECT_EQ(consumer.held(), (std::vector<OffsetRange>{{100, 4}}));
    (*batch)->Ack();
  }
  const v1::Settle settle = settled.get_future().get();
  EXPECT_EQ(settle.action(), v1::SETTLE_ACTION_ACK);
  ASSERT_EQ(settle.ranges_size(), 1);
  EXPECT_EQ(settle.ranges(0).first_offset(), 100U);
  EXPECT_EQ(settle.ranges(0).count(), 4U);
  EXPECT_EQ(settle.grant().epoch(), 3U);
  EXPECT_EQ(settle.grant().limit().messages(), 14U) << "settled plus the window";
  EXPECT_TRUE(consumer.held().empty());
  EXPECT_TRUE(consumer.Close().ok());
}

TEST(Consumer, DroppedBatchIsRetried) {
  std::promise<v1::Settle> ack;
  std::promise<v1::Settle> retry;
  ScriptedBroker broker({[&](Stream* stream) {
    ReadA(stream, v1::ConsumeRequest::kOpen);
    SendOpened(stream, 1, 0, 3);
    SendRecords(stream, 0, 3);
    ack.set_value(ReadA(stream, v1::ConsumeRequest::kSettle).settle());
    retry.set_value(ReadA(stream, v1::ConsumeRequest::kSettle).settle());
    UntilClose(stream);
    return grpc::Status::OK;
  }});
  Client client = *Client::Make(broker.Options());
  auto consumer = *client.OpenConsumer(Options());
  {
    auto batch = consumer.Next();
    (*batch)->Ack(0, 1);
  }
  EXPECT_EQ(ack.get_future().get().ranges(0).count(), 1U);
  const v1::Settle settle = retry.get_future().get();
  EXPECT_EQ(settle.action(), v1::SETTLE_ACTION_RETRY);
  EXPECT_EQ(settle.ranges(0).first_offset(), 1U);
  EXPECT_EQ(settle.ranges(0).count(), 2U);
  EXPECT_TRUE(consumer.Close().ok());
}

TEST(Consumer, StatesWhatItHoldsOnResume) {
  std::promise<v1::ConsumeOpen> resumed;
  std::promise<v1::Settle> settled;
  ScriptedBroker broker({[&](Stream* stream) {
                           ReadA(stream, v1::ConsumeRequest::kOpen);
                           SendOpened(stream, 1, 0, 10);
                           SendRecords(stream, 0, 6);
                           ReadA(stream, v1::ConsumeRequest::kSettle);
                           return ScriptedBroker::Broken();
                         },
                         [&](Stream* stream) {
                           resumed.set_value(ReadA(stream, v1::ConsumeRequest::kOpen).open());
                           SendOpened(stream, 2, 2, 10);
                           // It had settled two of them.
                           SendRevoke(stream, 0, 2);
                           settled.set_value(NextSettle(stream));
                           UntilClose(stream);
                           return grpc::Status::OK;
                         }});
  Client client = *Client::Make(broker.Options());
  auto consumer = *client.OpenConsumer(Options());
  auto batch = consumer.Next();
  (*batch)->Ack(0, 2);
  const v1::ConsumeOpen open = resumed.get_future().get();
  ASSERT_EQ(open.group().held_size(), 1);
  EXPECT_EQ(open.group().held(0).first_offset(), 0U) << "what is unanswered, too";
  EXPECT_EQ(open.group().held(0).count(), 6U);
  EXPECT_EQ(open.limit().messages(), 6U) << "the window less what is held";
  while (consumer.reconnects() == 0) std::this_thread::yield();
  (*batch)->Ack();
  const v1::Settle settle = settled.get_future().get();
  EXPECT_EQ(settle.ranges(0).first_offset(), 2U);
  EXPECT_EQ(settle.ranges(0).count(), 4U);
  EXPECT_EQ(settle.grant().limit().messages(), 10U) << "held records are not the epoch's";
  EXPECT_TRUE(consumer.Close().ok());
}

// The broker may not have noticed yet that the member's earlier stream is gone.
TEST(Consumer, AnExclusiveMemberComesBack) {
  const auto exclusive = [] { return ScriptedBroker::Typed(v1::ERROR_KIND_EXCLUSIVE); };
  ScriptedBroker broker({[&](Stream* stream) {
                           ReadA(stream, v1::ConsumeRequest::kOpen);
                           return exclusive();
                         },
                         [&](Stream* stream) {
                           ReadA(stream, v1::ConsumeRequest::kOpen);
                           SendOpened(stream, 1, 0, 10);
                           return ScriptedBroker::Broken();
                         },
                         [&](Stream* stream) {
                           ReadA(stream, v1::ConsumeRequest::kOpen);
                           return exclusive();
                         },
                         [&](Stream* stream) {
                           ReadA(stream, v1::ConsumeRequest::kOpen);
                           SendOpened(stream, 2, 0, 10);
                           SendRecords(stream, 0, 1);
                           UntilClose(stream);
                           return grpc::Status::OK;
                         }});
  Client other = *Client::Make(broker.Options());
  const auto refused = other.OpenConsumer(Options());
  ASSERT_FALSE(refused.ok()) << "the member is another's, for all that is known";
  EXPECT_EQ(refused.error().kind, ErrorKind::kExclusive);
  Client client = *Client::Make(broker.Options());
  auto consumer = *client.OpenConsumer(Options());
  auto batch = consumer.Next();
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ((*batch)->size(), 1U);
  EXPECT_TRUE(consumer.Close().ok());
}

TEST(Consumer, SettlesUnderWayWhenTheStreamBreaksAreSettledAgain) {
  std::promise<v1::ConsumeOpen> third;
  std::promise<void> ponged;
  std::vector<v1::Settle> again;
  ScriptedBroker broker(
      {[&](Stream* stream) {
         ReadA(stream, v1::ConsumeRequest::kOpen);
         SendOpened(stream, 1, 0, 10);
         SendRecords(stream, 0, 6);
         ReadA(stream, v1::ConsumeRequest::kSettle);
         ReadA(stream, v1::ConsumeRequest::kSettle);
         return ScriptedBroker::Broken();
       },
       [&](Stream* stream) {
         EXPECT_EQ(ReadA(stream, v1::ConsumeRequest::kOpen).open().group().held(0).count(), 6U);
         SendOpened(stream, 2, 0, 10);
         SendRevoke(stream, 1, 2);
         again.push_back(NextSettle(stream));
         ponged.set_value();
         for (int i = 0; i < 2; ++i) again.push_back(NextSettle(stream));
         return ScriptedBroker::Broken();
       },
       [&](Stream* stream) {
         third.set_value(ReadA(stream, v1::ConsumeRequest::kOpen).open());
         SendOpened(stream, 3, 0, 10);
         UntilSettledAndClosed(stream);
         return grpc::Status::OK;
       }});
  Client client = *Client::Make(broker.Options());
  std::atomic<bool> revoked = false;
  ConsumerOptions options = Options();
  options.on_revoke = [&](const std::vector<OffsetRange>&, RevokeReason) { revoked = true; };
  auto consumer = *client.OpenConsumer(options);
  auto batch = consumer.Next();
  (*batch)->Ack(0, 4);
  (*batch)->Settle(SettleAction::kPark, 4, 1, {.reason = "odd"});
  // What is settled again comes after a Pong. Before it, this one would be answered.
  ponged.get_future().wait();
  (*batch)->Ack();
  const v1::ConsumeOpen open = third.get_future().get();
  ASSERT_EQ(open.group().held_size(), 2);
  EXPECT_EQ(open.group().held(0).count(), 1U);
  EXPECT_EQ(open.group().held(1).first_offset(), 3U);
  EXPECT_EQ(open.group().held(1).count(), 3U);
  EXPECT_TRUE(consumer.Close().ok());
  EXPECT_FALSE(revoked) << "that a settle had arrived is no news";
  std::vector<uint64_t> acknowledged;
  for (const v1::Settle& settle : again) {
    if (settle.action() == v1::SETTLE_ACTION_PARK) {
      EXPECT_EQ(settle.reason(), "odd");
      EXPECT_EQ(settle.ranges(0).first_offset(), 4U);
      continue;
    }
    for (const v1::OffsetRange& range : settle.ranges()) {
      for (uint64_t i = 0; i < range.count(); ++i) {
        acknowledged.push_back(range.first_offset() + i);
      }
    }
  }
  std::sort(acknowledged.begin(), acknowledged.end());
  EXPECT_EQ(acknowledged, (std::vector<uint64_t>{0, 3, 5}));
}

TEST(Consumer, RevokedRecordsCannotBeSettled) {
  std::atomic<bool> settled = false;
  ScriptedBroker broker({[&](Stream* stream) {
    ReadA(stream, v1::ConsumeRequest::kOpen);
    SendOpened(stream, 1, 0, 3);
    SendRecords(stream, 0, 3);
    v1::ConsumeResponse response;
    response.mutable_revoke()->set_reason(v1::REVOKE_REASON_DEADLINE);
    response.mutable_revoke()->add_ranges()->set_count(3);
    stream->Write(response);
    v1::ConsumeRequest request;
    while (stream->Read(&request) && !request.has_close())
      settled = settled || request.has_settle();
    return grpc::Status::OK;
  }});
  Client client = *Client::Make(broker.Options());
  std::promise<RevokeReason> revoked;
  ConsumerOptions options = Options();
  options.on_revoke = [&](const std::vector<OffsetRange>& ranges, RevokeReason reason) {
    EXPECT_EQ(ranges, (std::vector<OffsetRange>{{0, 3}}));
    revoked.set_value(reason);
  };
  auto consumer = *client.OpenConsumer(options);
  auto batch = consumer.Next();
  EXPECT_EQ(revoked.get_future().get(), RevokeReason::kDeadline);
  (*batch)->Ack();
  EXPECT_TRUE(consumer.Close().ok());
  EXPECT_FALSE(settled);
}

TEST(Consumer, CallbackAndGap) {
  ScriptedBroker broker({[&](Stream* stream) {
    ReadA(stream, v1::ConsumeRequest::kOpen);
    SendOpened(stream, 1, 0, 9);
    v1::ConsumeResponse response;
    response.mutable_gap()->set_reason(v1::GAP_REASON_PURGED);
    response.mutable_gap()->add_ranges()->set_count(5);
    stream->Write(response);
    SendRecords(stream, 5, 4);
    EXPECT_EQ(ReadA(stream, v1::ConsumeRequest::kSettle).settle().ranges(0).count(), 4U);
    UntilClose(stream);
    return grpc::Status::OK;
  }});
  Client client = *Client::Make(broker.Options());
  std::promise<uint64_t> first;
  std::atomic<bool> gap = false;
  ConsumerOptions options = Options();
  options.on_gap = [&](const std::vector<OffsetRange>&, GapReason reason) {
    gap = reason == GapReason::kPurged;
  };
  options.on_batch = [&](DeliveryBatch batch) {
    EXPECT_TRUE(gap) << "in the order of the stream";
    batch.Ack();
    first.set_value(batch.first_offset());
  };
  auto consumer = *client.OpenConsumer(std::move(options));
  EXPECT_EQ(first.get_future().get(), 5U);
  EXPECT_TRUE(consumer.Close().ok());
}

TEST(Reader, ResumesWhereItWasAndEnds) {
  ScriptedBroker broker(
      {[&](Stream* stream) {
         const v1::ConsumeOpen open = ReadA(stream, v1::ConsumeRequest::kOpen).open();
         EXPECT_EQ(open.reader().start().last(), 5U);
         EXPECT_TRUE(open.reader().stop().tail());
         SendOpened(stream, 1, 45, 50);
         SendRecords(stream, 45, 2);
         return ScriptedBroker::Broken();
       },
       [&](Stream* stream) {
         const v1::ConsumeOpen open = ReadA(stream, v1::ConsumeRequest::kOpen).open();
         EXPECT_EQ(open.reader().start().offset(), 47U);
         EXPECT_EQ(open.reader().stop().offset(), 50U) << "the first stream's tail";
         SendOpened(stream, 2, 47, 60);
         SendRecords(stream, 47, 3);
         v1::ConsumeResponse response;
         response.mutable_end()->set_reason(v1::END_REASON_STOP);
         response.mutable_end()->set_next_offset(50);
         stream->Write(response);
         return grpc::Status::OK;
       }});
  Client client = *Client::Make(broker.Options());
  ReaderOptions options;
  options.queue = "q";
  options.start = Start::Last(5);
  options.stop = Stop::AtTail();
  auto reader = *client.OpenReader(options);
  std::vector<uint64_t> offsets;
  for (;;) {
    auto batch = reader.Next();
    ASSERT_TRUE(batch.ok());
    if (!*batch) break;
    for (const RecordView& record : **batch) offsets.push_back(record.offset());
  }
  EXPECT_EQ(offsets, (std::vector<uint64_t>{45, 46, 47, 48, 49}));
  EXPECT_TRUE(reader.ended());
  EXPECT_EQ(reader.next_offset(), 50U);
}

TEST(Reader, GrantsAsTheApplicationReads) {
  std::promise<v1::Grant> granted;
  ScriptedBroker broker({[&](Stream* stream) {
    ReadA(stream, v1::ConsumeRequest::kOpen);
    SendOpened(stream, 8, 0, 10);
    SendRecords(stream, 0, 5);
    granted.set_value(ReadA(stream, v1::ConsumeRequest::kGrant).grant());
    return grpc::Status::OK;
  }});
  Client client = *Client::Make(broker.Options());
  ReaderOptions options;
  options.queue = "q";
  options.max_in_flight_messages = 10;
  auto reader = *client.OpenReader(options);
  { auto batch = reader.Next(); }
  const v1::Grant grant = granted.get_future().get();
  EXPECT_EQ(grant.epoch(), 8U);
  EXPECT_EQ(grant.limit().messages(), 15U);
}

}  // namespace
}  // namespace spillway::client
