// A Pong tells a consumer that what it settled before the Ping was taken, so the
// frames of a stream have to be handled in order.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "broker/session/consumer_session.h"
#include "broker/session/fake_broker.h"

namespace spillway::session {
namespace {

class Carrier : public Host {
 public:
  void Dirty() override {}
};

TEST(Order, APongComesOnceTheSettlesBeforeItsPingWereTaken) {
  const Now now{.mono = 1, .unix_ms = 1};
  Carrier carrier;
  FakeBroker broker;
  const SessionOptions options;
  ConsumerSession session(options, &broker, &carrier, "test", now);
  const auto send = [&](const pb::ConsumeRequest& request) {
    session.OnFrame(wire::Buffer::Copy(request.SerializeAsString()), now);
  };
  const auto next = [&] {
    pb::ConsumeResponse response;
    const std::optional<OutFrame> frame = session.NextFrame(now);
    EXPECT_TRUE(frame && response.ParseFromString(frame->head));
    session.OnWritten(now);
    return response;
  };
  pb::ConsumeRequest open;
  open.mutable_open()->set_protocol(1);
  open.mutable_open()->set_queue("q");
  open.mutable_open()->mutable_group()->set_group("g");
  send(open);
  broker.RunBatch(now);
  const uint64_t epoch = next().opened().epoch();
  for (uint64_t i = 1; i <= 3; ++i) {
    pb::ConsumeRequest settle;
    settle.mutable_settle()->set_action(pb::SETTLE_ACTION_ACK);
    settle.mutable_settle()->add_ranges()->set_first_offset(i);
    settle.mutable_settle()->mutable_ranges(0)->set_count(1);
    send(settle);
    pb::ConsumeRequest ping;
    ping.mutable_ping()->set_id(i);
    ping.mutable_ping()->set_epoch(epoch);
    send(ping);
    EXPECT_EQ(broker.log.size(), i) << "taken before the Pong can be written";
    EXPECT_EQ(broker.log.back(), "settle " + std::to_string(i) + "+1");
    EXPECT_EQ(next().pong().id(), i);
  }
}

}  // namespace
}  // namespace spillway::session
