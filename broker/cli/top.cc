// spillway top: what the broker does, live.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <utility>

#include "broker/cli/context.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"

namespace spillway::cli {
namespace {

struct Options {
  std::string queue;
  uint64_t interval_ms = 1000;
  uint64_t count = 0;
};

// Totals of the last snapshot, for rates.
struct Last {
  uint64_t at_unix_ms = 0;
  std::map<std::string, v1::QueueStats> stats;
};

struct Rates {
  double in = 0;
  double out = 0;
  double settled = 0;
};

Rates RatesOf(const v1::Queue& queue, const Last& last, uint64_t now) {
  const auto it = last.stats.find(queue.name());
  if (it == last.stats.end() || now <= last.at_unix_ms) return {};
  const double seconds = static_cast<double>(now - last.at_unix_ms) / 1000;
  const auto rate = [&](uint64_t after, uint64_t before) {
    return after > before ? static_cast<double>(after - before) / seconds : 0.0;
  };
  const v1::QueueStats& a = queue.stats();
  const v1::QueueStats& b = it->second;
  return {rate(a.published_messages_total(), b.published_messages_total()),
          rate(a.delivered_messages_total(), b.delivered_messages_total()),
          rate(a.settled_messages_total(), b.settled_messages_total())};
}

// "[#####.....]  52%".
std::string Bar(uint64_t used, uint64_t total) {
  const double share =
      total == 0 ? 0 : std::min(1.0, static_cast<double>(used) / static_cast<double>(total));
  const auto filled = static_cast<size_t>(std::lround(share * 10));
  char percent[8];
  std::snprintf(percent, sizeof percent, "%3.0f%%", share * 100);
  const Style style = share > 0.9 ? Style::kRed : share > 0.7 ? Style::kYellow : Style::kGreen;
  return Styled(style, std::string(filled, '#') + std::string(10 - filled, '.')) + " " + percent;
}

std::string Screen(const v1::WatchResponse& now, const Last& last) {
  const v1::BrokerStats& b = now.broker();
  std::string out = Styled(Style::kBold, "spillway") + " " + b.version() + "  up " +
                    HumanDuration(b.uptime_ms()) + "  " + Rfc3339(now.at_unix_ms()) +
                    (b.draining() ? "  " + Styled(Style::kRed, "DRAINING") : "") + "\n" +
                    "memory " + Bar(b.memory_used_bytes(), b.memory_budget_bytes()) + " of " +
                    HumanBytes(b.memory_budget_bytes()) + ", resident " +
                    HumanBytes(b.resident_memory_bytes()) + "   store " +
                    HumanBytes(b.store_bytes()) + ", disk free " + HumanBytes(b.disk_free_bytes()) +
                    "\nsessions " + HumanCount(b.sessions()) + ", connections " +
                    HumanCount(b.connections()) + "   commits " + HumanCount(b.commits_total()) +
                    ", syncs " + HumanCount(b.syncs_total()) + "\n\n";
  using enum Table::Align;
  Table table({{"QUEUE"},
               {"IN/s", kRight},
               {"OUT/s", kRight},
               {"SETTLED/s", kRight},
               {"DEPTH", kRight},
               {"WINDOW"},
               {"DISK", kRight},
               {"PROD", kRight},
               {"CONS", kRight},
               {"OLDEST", kRight},
               {"WAITS"}});
  for (const v1::Queue& queue : now.queues()) {
    const v1::QueueStats& s = queue.stats();
    const Rates rates = RatesOf(queue, last, now.at_unix_ms());
    const std::string reason = EnumName(s.reason());
    table.Add({queue.name(), ShortCount(rates.in), ShortCount(rates.out), ShortCount(rates.settled),
               ShortCount(static_cast<double>(s.depth_messages())),
               Bar(s.resident_bytes(), queue.tuning().window_bytes()), HumanBytes(s.disk_bytes()),
               std::to_string(s.producers()), std::to_string(s.consumers()),
               s.depth_messages() == 0 ? "-" : HumanDuration(s.oldest_age_ms()),
               reason.empty()
                   ? "-"
                   : Styled(Style::kYellow, reason) + " " + HumanDuration(s.reason_age_ms())});
  }
  return out + table.Render();
}

// Over the last screen rather than after a clear one, which would flicker. What does
// not fit is left out, so that nothing scrolls.
void Draw(const std::string& screen, bool first) {
  winsize size = {};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1;
  const size_t rows = known ? size.ws_row : 24;
  const size_t columns = known && size.ws_col > 0 ? size.ws_col : 80;
  std::string out = first ? "\033[2J\033[H" : "\033[H";
  const auto lines = static_cast<size_t>(std::count(screen.begin(), screen.end(), '\n'));
  const size_t shown = lines < rows ? lines : rows - 2;
  size_t begin = 0;
  for (size_t i = 0; i < shown; ++i) {
    const size_t end = screen.find('\n', begin);
    out += Fit(std::string_view(screen).substr(begin, end - begin), columns) + "\033[K\n";
    begin = end + 1;
  }
  if (shown < lines) {
    out += Fit("and " + std::to_string(lines - shown) + " more; spillway top QUEUE shows one",
               columns) +
           "\033[K\n";
  }
  std::cout << out << "\033[J" << std::flush;
}

// For pipes: a line for each queue and snapshot.
void PlainLines(const v1::WatchResponse& now, const Last& last) {
  for (const v1::Queue& queue : now.queues()) {
    const v1::QueueStats& s = queue.stats();
    const Rates rates = RatesOf(queue, last, now.at_unix_ms());
    const std::string reason = EnumName(s.reason());
    std::cout << Rfc3339(now.at_unix_ms()) << " " << queue.name()
              << " in/s=" << ShortCount(rates.in) << " out/s=" << ShortCount(rates.out)
              << " settled/s=" << ShortCount(rates.settled) << " depth=" << s.depth_messages()
              << " resident_bytes=" << s.resident_bytes() << " disk_bytes=" << s.disk_bytes()
              << " producers=" << s.producers() << " consumers=" << s.consumers()
              << " reason=" << (reason.empty() ? "-" : reason) << "\n";
  }
  std::cout.flush();
}

int Run(const Context& context, const Options& options) {
  EndOnInterrupt();
  Last last;
  uint64_t seen = 0;
  bool first = true;
  const bool screen = StdoutIsTerminal() && !context.json();
  const auto take = [&](const v1::WatchResponse& now) {
    if (context.json()) {
      PrintJson(ToJson(now));
      std::cout.flush();
    } else if (screen) {
      Draw(Screen(now, last), std::exchange(first, false));
    } else {
      PlainLines(now, last);
    }
    last.at_unix_ms = now.at_unix_ms();
    last.stats.clear();
    for (const v1::Queue& queue : now.queues()) last.stats[queue.name()] = queue.stats();
    return std::cout && (options.count == 0 || ++seen < options.count);
  };
  const client::Status status =
      context.Admin().Watch(options.queue, client::milliseconds(options.interval_ms), take);
  return status.ok() ? kOk : context.Fail(status.error());
}

}  // namespace

void AddTop(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* top = AddCommand(app, context, "top",
                             "Shows what the broker does, live; a line for each queue when piped",
                             "  spillway top\n"
                             "  spillway top orders --interval 5s\n"
                             "  spillway top -n 1 --json | jq .broker\n",
                             &Run, &options);
  top->add_option("QUEUE", options->queue, "Only this queue");
  AddDuration(
      top, "--interval", [options](uint64_t ms) { options->interval_ms = ms; },
      "Between snapshots, 100ms to 1m (1s)");
  AddCount(top, "-n,--count", &options->count, "End after that many snapshots", 1);
}

}  // namespace spillway::cli
