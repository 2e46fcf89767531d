// A producer against a broker that plays scripts.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "clients/cpp/spillway/client.h"
#include "clients/cpp/testing/scripted_broker.h"

namespace spillway::client {
namespace {

using testing::ScriptedBroker;
using Stream = ScriptedBroker::PublishStream;

void SendOpened(Stream* stream, uint64_t epoch, uint64_t next_sequence, uint64_t messages,
                uint64_t bytes, v1::CreditReason reason = v1::CREDIT_REASON_UNSPECIFIED) {
  v1::PublishResponse response;
  response.mutable_opened()->set_protocol(1);
  response.mutable_opened()->set_epoch(epoch);
  response.mutable_opened()->set_next_sequence(next_sequence);
  response.mutable_opened()->set_session("s" + std::to_string(epoch));
  stream->Write(response);
  response.mutable_grant()->set_epoch(epoch);
  response.mutable_grant()->mutable_limit()->set_messages(messages);
  response.mutable_grant()->mutable_limit()->set_bytes(bytes);
  response.mutable_grant()->set_reason(reason);
  stream->Write(response);
}

void SendGrant(Stream* stream, uint64_t epoch, uint64_t messages, uint64_t bytes) {
  v1::PublishResponse response;
  response.mutable_grant()->set_epoch(epoch);
  response.mutable_grant()->mutable_limit()->set_messages(messages);
  response.mutable_grant()->mutable_limit()->set_bytes(bytes);
  stream->Write(response);
}

void SendConfirm(Stream* stream, uint64_t first, uint64_t count, uint64_t offset,
                 bool duplicate = false) {
  v1::PublishResponse response;
  response.mutable_confirm()->set_durability(v1::DURABILITY_SYNCED);
  v1::Confirm::Run* run = response.mutable_confirm()->add_runs();
  run->set_first_sequence(first);
  run->set_count(count);
  run->set_first_offset(offset);
  run->set_duplicate(duplicate);
  stream->Write(response);
}

// Reads until a frame of that kind comes; others are passed over.
v1::PublishRequest ReadA(Stream* stream, v1::PublishRequest::FrameCase kind) {
  v1::PublishRequest request;
  while (stream->Read(&request)) {
    if (request.frame_case() == kind) return request;
  }
  return {};
}

// Confirms everything until the client closes.
grpc::Status Serve(Stream* stream, uint64_t offset_minus_sequence = 0) {
  v1::PublishRequest request;
  while (stream->Read(&request)) {
    if (request.has_close()) return grpc::Status::OK;
    if (request.has_publish()) {
      SendConfirm(stream, request.publish().first_sequence(),
                  static_cast<uint64_t>(request.publish().records_size()),
                  request.publish().first_sequence() + offset_minus_sequence);
    }
  }
  return grpc::Status::OK;
}

TEST(Producer, PublishesAndCloses) {
  ScriptedBroker broker({[](Stream* stream) {
    const v1::PublishRequest open = ReadA(stream, v1::PublishRequest::kOpen);
    EXPECT_EQ(open.open().queue(), "orders");
    EXPECT_EQ(open.open().protocol(), 1U);
    EXPECT_FALSE(open.open().producer_id().empty());
    SendOpened(stream, 5, 1, 100, 10'000);
    return Serve(stream, 41);
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = client.OpenProducer({.queue = "orders"});
  ASSERT_TRUE(producer.ok()) << producer.error().ToString();
  const auto published = producer->Publish({.payload = "hello"});
  ASSERT_TRUE(published.ok());
  EXPECT_EQ(published->offset, 42U);
  EXPECT_EQ(published->durability, Durability::kSynced);
  EXPECT_EQ(producer->session_id(), "s5");
  EXPECT_TRUE(producer->Close().ok());
  EXPECT_EQ(producer->Publish({.payload = "x"}).error().kind, ErrorKind::kClosed);
}

TEST(Producer, CreditEdgeAndDemand) {
  std::promise<v1::Demand> demand;
  std::atomic<int> frames = 0;
  ScriptedBroker broker({[&](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    SendOpened(stream, 1, 1, 10, 102);  // one record of 102 bytes fits exactly
    ReadA(stream, v1::PublishRequest::kPublish);
    ++frames;
    demand.set_value(ReadA(stream, v1::PublishRequest::kDemand).demand());
    SendConfirm(stream, 1, 1, 0);
    SendGrant(stream, 1, 20, 102 + 50);
    return Serve(stream);
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  while (producer.credit().zero()) std::this_thread::yield();
  const std::string payload(100, 'x');
  EXPECT_FALSE(*producer.TryPublish({.payload = payload + "x"}, nullptr)) << "one byte over";
  EXPECT_TRUE(*producer.TryPublish({.payload = payload}, nullptr)) << "exact";
  EXPECT_EQ(producer.credit().bytes, 0U);
  std::thread waiter(
      [&] { EXPECT_TRUE(producer.Publish({.payload = std::string(48, 'y')}).ok()); });
  const v1::Demand stated = demand.get_future().get();
  EXPECT_EQ(stated.next_record_bytes(), 50U);
  EXPECT_EQ(stated.waiting().bytes(), 50U);
  waiter.join();
  EXPECT_FALSE(producer.blocked().has_value());
  EXPECT_TRUE(producer.Close().ok());
}

TEST(Producer, WaitsWithAReasonAndGivesUpInTime) {
  ScriptedBroker broker({[](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    SendOpened(stream, 1, 1, 0, 0, v1::CREDIT_REASON_WINDOW_FULL);
    return Serve(stream);
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  const auto published = producer.Publish({.payload = "x"}, milliseconds(50));
  ASSERT_FALSE(published.ok());
  EXPECT_EQ(published.error().kind, ErrorKind::kTimedOut);
  EXPECT_NE(published.error().message.find("WINDOW_FULL"), std::string::npos);
}

TEST(Producer, FullRejectFailsAtOnce) {
  ScriptedBroker broker({[](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    SendOpened(stream, 1, 1, 0, 0, v1::CREDIT_REASON_FULL_REJECT);
    return Serve(stream);
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  EXPECT_EQ(producer.Publish({.payload = "x"}).error().kind, ErrorKind::kQueueFull);
  EXPECT_EQ(producer.TryPublish({.payload = "x"}, nullptr).error().kind, ErrorKind::kQueueFull);
}

TEST(Producer, ResumesTwiceAndConfirmsOnce) {
  std::string id;
  // Takes the batch and breaks before confirming, twice; then says "duplicate".
  const auto breaks = [&](Stream* stream, uint64_t epoch, uint64_t next) {
    const v1::PublishOpen open = ReadA(stream, v1::PublishRequest::kOpen).open();
    if (epoch == 1) {
      id = open.producer_id();
    } else {
      EXPECT_EQ(open.producer_id(), id);
      EXPECT_EQ(open.resume_sequence(), 1U);
    }
    SendOpened(stream, epoch, next, 100, 10'000);
    const v1::PublishBatch batch = ReadA(stream, v1::PublishRequest::kPublish).publish();
    EXPECT_EQ(batch.first_sequence(), 1U);
    EXPECT_EQ(batch.records_size(), 3);
    return ScriptedBroker::Broken();
  };
  ScriptedBroker broker({[&](Stream* s) { return breaks(s, 1, 1); },
                         [&](Stream* s) { return breaks(s, 2, 4); },
                         [&](Stream* stream) {
                           ReadA(stream, v1::PublishRequest::kOpen);
                           SendOpened(stream, 3, 4, 100, 10'000);
                           ReadA(stream, v1::PublishRequest::kPublish);
                           SendConfirm(stream, 1, 3, 70, true);
                           return Serve(stream, 69);
                         }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  BatchBuilder builder;
  for (int i = 0; i < 3; ++i) builder.Add({.payload = "abc"});
  std::atomic<int> calls = 0;
  ASSERT_TRUE(producer
                  .PublishBatch(builder.Build(),
                                [&](uint32_t, uint32_t count, const Result<Published>& r) {
                                  ++calls;
                                  EXPECT_EQ(count, 3U);
                                  EXPECT_TRUE(r.ok() && r->duplicate && r->offset == 70);
                                })
                  .ok());
  ASSERT_TRUE(producer.Flush().ok());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(producer.reconnects(), 2U);
  const auto next = producer.Publish({.payload = "d"});
  EXPECT_EQ(next->offset, 73U) << "sequence 4 follows";
}

TEST(Producer, GivesBackWhatOthersWaitFor) {
  std::promise<v1::Demand> demand;
  ScriptedBroker broker({[&](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    SendOpened(stream, 1, 1, 10, 1000, v1::CREDIT_REASON_FAIR_SHARE);
    demand.set_value(ReadA(stream, v1::PublishRequest::kDemand).demand());
    SendGrant(stream, 1, 11, 1100);
    return Serve(stream);
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  const v1::Demand stated = demand.get_future().get();
  EXPECT_EQ(stated.waiting().messages(), 0U);
  EXPECT_EQ(stated.returned().messages(), 10U);
  EXPECT_EQ(stated.returned().bytes(), 1000U);
  EXPECT_TRUE(producer.Publish({.payload = "x"}).ok());
  EXPECT_EQ(producer.credit(), (Credit{0, 97}));
}

TEST(Producer, RefusedRecordFailsAlone) {
  ScriptedBroker broker({[](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    SendOpened(stream, 1, 1, 100, 10'000);
    ReadA(stream, v1::PublishRequest::kPublish);
    v1::PublishResponse response;
    response.mutable_refuse()->set_first_sequence(1);
    response.mutable_refuse()->set_count(1);
    response.mutable_refuse()->mutable_error()->set_kind(v1::ERROR_KIND_TOO_LARGE);
    response.mutable_refuse()->mutable_error()->set_limit(77);
    stream->Write(response);
    return Serve(stream);
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  const auto refused = producer.Publish({.payload = "x"});
  EXPECT_EQ(refused.error().kind, ErrorKind::kTooLarge);
  EXPECT_EQ(refused.error().limit, 77U);
  EXPECT_EQ(producer.Publish({.payload = "y"})->offset, 2U);
}

TEST(Producer, FencedForGood) {
  ScriptedBroker broker({[](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    SendOpened(stream, 1, 1, 100, 10'000);
    ReadA(stream, v1::PublishRequest::kPublish);
    return ScriptedBroker::Typed(v1::ERROR_KIND_FENCED, "a newer stream");
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  EXPECT_EQ(producer.Publish({.payload = "x"}).error().kind, ErrorKind::kFenced);
  EXPECT_EQ(producer.Publish({.payload = "x"}).error().kind, ErrorKind::kFenced);
}

TEST(Producer, ReopensAfterAFinalErrorOnceTheTimeThatItNamesIsOver) {
  using Clock = std::chrono::steady_clock;
  constexpr milliseconds kAfter{60};  // far beyond the schedule's own waits
  std::promise<Clock::time_point> ended;
  std::promise<Clock::time_point> reopened;
  ScriptedBroker broker({[&](Stream* stream) {
                           ReadA(stream, v1::PublishRequest::kOpen);
                           SendOpened(stream, 1, 1, 100, 10'000);
                           ReadA(stream, v1::PublishRequest::kPublish);
                           ended.set_value(Clock::now());
                           return ScriptedBroker::Typed(v1::ERROR_KIND_FENCED, "not yet",
                                                        kAfter.count());
                         },
                         [&](Stream* stream) {
                           ReadA(stream, v1::PublishRequest::kOpen);
                           reopened.set_value(Clock::now());
                           SendOpened(stream, 2, 1, 100, 10'000);
                           return Serve(stream);
                         }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  const auto published = producer.Publish({.payload = "x"});
  ASSERT_TRUE(published.ok()) << published.error().ToString();
  EXPECT_EQ(producer.reconnects(), 1U);
  EXPECT_TRUE(producer.Close().ok());
  EXPECT_GE(reopened.get_future().get() - ended.get_future().get(), kAfter);
}

TEST(Producer, BareRefusalOfAProxyIsFinal) {
  for (const grpc::StatusCode code :
       {grpc::StatusCode::PERMISSION_DENIED, grpc::StatusCode::UNAUTHENTICATED}) {
    ScriptedBroker broker({[code](Stream* stream) {
      ReadA(stream, v1::PublishRequest::kOpen);
      return grpc::Status(code, "no");
    }});
    Client client = *Client::Make(broker.Options());
    const auto producer = client.OpenProducer({.queue = "q"});
    ASSERT_FALSE(producer.ok());
    EXPECT_EQ(producer.error().kind, ErrorKind::kProtocol);
    EXPECT_EQ(producer.error().message, "no");
  }
}

TEST(Producer, OpenTellsWhyItFails) {
  ScriptedBroker broker({[](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    return ScriptedBroker::Typed(v1::ERROR_KIND_NOT_FOUND, "no queue");
  }});
  Client client = *Client::Make(broker.Options());
  const auto producer = client.OpenProducer({.queue = "q"});
  ASSERT_FALSE(producer.ok());
  EXPECT_EQ(producer.error().kind, ErrorKind::kNotFound);
}

TEST(Producer, DrainHandsOverWithoutAnError) {
  ScriptedBroker broker({[](Stream* stream) {
                           ReadA(stream, v1::PublishRequest::kOpen);
                           SendOpened(stream, 1, 1, 100, 10'000);
                           ReadA(stream, v1::PublishRequest::kPublish);
                           v1::PublishResponse response;
                           response.mutable_drain()->set_deadline_ms(1000);
                           response.mutable_drain()->set_reconnect_after_ms(1);
                           stream->Write(response);
                           SendConfirm(stream, 1, 1, 0);
                           return Serve(stream);  // until Close
                         },
                         [](Stream* stream) {
                           ReadA(stream, v1::PublishRequest::kOpen);
                           SendOpened(stream, 2, 2, 100, 10'000);
                           return Serve(stream);
                         }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  EXPECT_TRUE(producer.Publish({.payload = "x"}).ok());
  while (producer.epoch() != 2) std::this_thread::yield();
  EXPECT_TRUE(producer.Publish({.payload = "x"}).ok());
}

TEST(Producer, LoweredGrantEndsTheStream) {
  ScriptedBroker broker({[](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    SendOpened(stream, 1, 1, 100, 10'000);
    SendGrant(stream, 1, 99, 10'000);
    v1::PublishRequest request;
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  EXPECT_EQ(producer.Publish({.payload = "x"}).error().kind, ErrorKind::kCreditRegressed);
}

TEST(Producer, CountersAreCompared) {
  ScriptedBroker broker({[](Stream* stream) {
    ReadA(stream, v1::PublishRequest::kOpen);
    SendOpened(stream, 1, 1, 100, 10'000);
    v1::PublishResponse response;
    response.mutable_ping()->set_id(9);
    response.mutable_ping()->set_epoch(1);
    stream->Write(response);
    EXPECT_EQ(ReadA(stream, v1::PublishRequest::kPong).pong().id(), 9U);
    response.mutable_ping()->mutable_sent()->set_messages(3);  // nothing was sent
    stream->Write(response);
    v1::PublishRequest request;
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  }});
  Client client = *Client::Make(broker.Options());
  auto producer = *client.OpenProducer({.queue = "q"});
  Result<Published> result = producer.Publish({.payload = "x"}, milliseconds(2000));
  EXPECT_EQ(result.error().kind, ErrorKind::kCounterMismatch);
}

}  // namespace
}  // namespace spillway::client
