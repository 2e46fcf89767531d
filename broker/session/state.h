// The life of a stream, for producers and consumers alike.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace spillway::session {

//   kAwaitingOpen --Open--> kOpening --opened--> kOpen --Close--> kClosing --> kEnded
//                              '--Close--> kClosingEarly --opened--^
// kEnded is reached from everywhere.
enum class State : uint8_t {
  kAwaitingOpen,
  kOpening,       // the lane has not answered yet
  kClosingEarly,  // Close came before the lane's answer
  kOpen,
  kClosing,  // the lane finishes what it was given
  kEnded,
};

enum class Event : uint8_t {
  kOpenFrame,
  kDataFrame,  // whatever needs an open stream: publish, demand, settle, grant, extend
  kLiveFrame,  // Ping, Pong
  kCloseFrame,
  kOpened,  // by the lane
  kEnd,     // by the lane, a failure, or the peer's going away
};

// Where `event` leads, or nothing if `state` does not allow it.
std::optional<State> Next(State state, Event event);

std::string_view StateName(State state);

}  // namespace spillway::session
