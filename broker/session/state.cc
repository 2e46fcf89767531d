#include "broker/session/state.h"

namespace spillway::session {

std::optional<State> Next(State state, Event event) {
  if (state == State::kEnded) return event == Event::kEnd ? std::optional(state) : std::nullopt;
  switch (event) {
    case Event::kOpenFrame:
      if (state == State::kAwaitingOpen) return State::kOpening;
      return std::nullopt;
    case Event::kDataFrame:
      if (state == State::kOpen) return state;
      return std::nullopt;
    case Event::kLiveFrame:
      if (state != State::kAwaitingOpen) return state;
      return std::nullopt;
    case Event::kCloseFrame:
      if (state == State::kOpening) return State::kClosingEarly;
      if (state == State::kOpen) return State::kClosing;
      return std::nullopt;
    case Event::kOpened:
      if (state == State::kOpening) return State::kOpen;
      if (state == State::kClosingEarly) return State::kClosing;
      return std::nullopt;
    case Event::kEnd:
      return State::kEnded;
  }
  return std::nullopt;
}

std::string_view StateName(State state) {
  switch (state) {
    case State::kAwaitingOpen:
      return "awaiting open";
    case State::kOpening:
    case State::kClosingEarly:
      return "opening";
    case State::kOpen:
      return "open";
    case State::kClosing:
      return "closing";
    case State::kEnded:
      return "ended";
  }
  return "unknown";
}

}  // namespace spillway::session
