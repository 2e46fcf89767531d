// What the exit code of `spillway` says; docs/cli.md and `spillway help exit-codes`
// list them.
#pragma once

namespace spillway::cli {

enum ExitCode : int {
  kOk = 0,
  kFailed = 1,       // any other error
  kUsage = 2,        // the command line is wrong
  kNotFound = 3,     // no such queue, group or session
  kConflict = 4,     // it exists already, changed meanwhile, or is taken
  kFull = 5,         // the queue is full, or a limit of the broker is reached
  kUnavailable = 6,  // the broker cannot be reached, is draining, or its store failed
  kTimedOut = 7,
  kOutOfRange = 8,     // the offset is not kept
  kInterrupted = 130,  // Ctrl-C or SIGTERM before the end of what was asked for
};

inline constexpr char kExitCodesText[] =
    "Exit codes:\n"
    "    0  done; also: Ctrl-C ended what has no end of its own (sub, replay --follow, top)\n"
    "    1  any other error\n"
    "    2  the command line, or a value in it, is wrong\n"
    "    3  no such queue, group or session\n"
    "    4  it exists already, changed meanwhile, or is taken by another\n"
    "    5  the queue is full, or a limit of the broker is reached\n"
    "    6  the broker cannot be reached, is draining, or its store failed\n"
    "    7  timed out\n"
    "    8  the offset is not kept\n"
    "  130  Ctrl-C or SIGTERM before the end of what was asked for\n"
    "spillway check follows monitoring plugins: 0 ok, 1 warning, 2 critical, 3 unknown.\n";

}  // namespace spillway::cli
