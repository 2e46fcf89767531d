#include "broker/service/router.h"

#include "absl/container/flat_hash_map.h"
#include "broker/wire/frame.h"
#include "spillway/v1/admin.pb.h"
#include "spillway/v1/broker.pb.h"

namespace spillway::service {
namespace {

namespace pb = ::spillway::v1;

template <typename Message>
bool Parse(std::string_view bytes, Message* message) {
  return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// Of a frame with Open. Records are not decoded.
template <typename Frame, typename Open>
std::string QueueOpened(std::string_view bytes) {
  const auto field = wire::FindFrame(bytes, Frame::kCloseFieldNumber);
  Open open;
  if (!field || field->number != Frame::kOpenFieldNumber || !Parse(field->body, &open)) return "";
  return open.queue();
}

template <typename Request>
std::string QueueAsked(std::string_view bytes) {
  Request request;
  if (!Parse(bytes, &request)) return "";
  if constexpr (requires { request.queue(); }) {
    return request.queue();
  } else {
    return request.name();
  }
}

using Finder = std::string (*)(std::string_view);

const absl::flat_hash_map<std::string_view, Finder>& Finders() {
#define SPILLWAY_ASKS(name) \
  { "/spillway.v1.Admin/" #name, &QueueAsked<pb::name##Request> }
  static const auto* finders = new absl::flat_hash_map<std::string_view, Finder>{
      {"/spillway.v1.Broker/Publish", &QueueOpened<pb::PublishRequest, pb::PublishOpen>},
      {"/spillway.v1.Broker/Consume", &QueueOpened<pb::ConsumeRequest, pb::ConsumeOpen>},
      SPILLWAY_ASKS(CreateQueue),
      SPILLWAY_ASKS(UpdateQueue),
      SPILLWAY_ASKS(GetQueue),
      SPILLWAY_ASKS(DeleteQueue),
      SPILLWAY_ASKS(PurgeQueue),
      SPILLWAY_ASKS(Peek),
      SPILLWAY_ASKS(ListGroups),
      SPILLWAY_ASKS(SeekGroup),
      SPILLWAY_ASKS(DeleteGroup),
      SPILLWAY_ASKS(ListParked),
      SPILLWAY_ASKS(ReleaseParked),
      SPILLWAY_ASKS(Explain),
      SPILLWAY_ASKS(Watch),
  };
#undef SPILLWAY_ASKS
  return *finders;
}

}  // namespace

std::string QueueNamedBy(std::string_view method, const wire::Buffer& first) {
  const auto finder = Finders().find(method);
  return finder == Finders().end() ? "" : finder->second(first.view());
}

}  // namespace spillway::service
