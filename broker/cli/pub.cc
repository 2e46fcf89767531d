// spillway pub
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>

#include "broker/cli/context.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"

namespace spillway::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string queue;
  std::vector<std::string> messages;
  std::string file;
  bool lines = false;
  uint64_t count = 1;
  double rate = 0;
  std::string key;
  std::vector<std::string> headers;
  std::string producer_id;
};

// What became of the records; filled on the client's thread.
struct Outcome {
  std::mutex mu;
  uint64_t confirmed = 0;
  uint64_t duplicates = 0;
  std::optional<client::Published> first;
  uint64_t last_offset = 0;
  uint64_t failed = 0;
  std::optional<client::Error> error;
};

// Gives one payload after the other.
class Source {
 public:
  explicit Source(const Options& options) : options_(options) {
    if (!options.messages.empty()) {
      payloads_ = options.messages;
    } else if (!options.file.empty() && !options.lines) {
      std::ifstream file(options.file, std::ios::binary);
      std::stringstream all;
      all << file.rdbuf();
      if (!file) bad_ = true;
      payloads_.push_back(all.str());
    } else if (!options.file.empty()) {
      file_.open(options.file, std::ios::binary);
      if (!file_) bad_ = true;
      in_ = &file_;
    } else {
      in_ = &std::cin;
    }
  }
  bool bad() const { return bad_; }
  bool Next(std::string* payload) {
    if (in_ != nullptr) return static_cast<bool>(std::getline(*in_, *payload));
    if (next_ == payloads_.size() * options_.count) return false;
    *payload = payloads_[next_++ % payloads_.size()];
    return true;
  }

 private:
  const Options& options_;
  std::vector<std::string> payloads_;
  uint64_t next_ = 0;
  std::ifstream file_;
  std::istream* in_ = nullptr;
  bool bad_ = false;
};

// Shows why publishing waits, on a terminal, once a second.
void ShowBlocked(const client::Producer& producer) {
  if (const auto blocked = producer.blocked(); blocked && blocked->waiting.count() > 500) {
    std::cerr << "\r\033[K" << (blocked->connected ? "waits for credit: " : "waits for the broker ")
              << client::Name(blocked->reason) << " for "
              << HumanDuration(static_cast<uint64_t>(blocked->waiting.count())) << "; ends when "
              << client::EndsWhen(blocked->reason) << std::flush;
  }
}

void Report(const Context& context, const Outcome& outcome, double seconds) {
  if (context.json()) {
    Json out;
    out["confirmed"] = outcome.confirmed;
    out["failed"] = outcome.failed;
    out["duplicates"] = outcome.duplicates;
    if (outcome.first) {
      out["first_offset"] = outcome.first->offset;
      out["last_offset"] = outcome.last_offset;
      out["durability"] = client::Name(outcome.first->durability);
    }
    out["seconds"] = seconds;
    PrintJson(out);
    return;
  }
  if (!outcome.first) return;
  if (outcome.confirmed == 1) {
    std::cout << "offset " << outcome.first->offset << " ("
              << client::Name(outcome.first->durability) << ")\n";
    return;
  }
  std::cout << HumanCount(outcome.confirmed) << " records, offsets " << outcome.first->offset
            << " to " << outcome.last_offset << " (" << client::Name(outcome.first->durability)
            << "), " << ShortCount(static_cast<double>(outcome.confirmed) / std::max(seconds, 1e-6))
            << "/s\n";
}

int Run(const Context& context, const Options& options) {
  std::vector<client::Header> headers;
  for (const std::string& header : options.headers) {
    const size_t mark = header.find('=');
    if (mark == std::string::npos || mark == 0) {
      return context.Fail({.kind = client::ErrorKind::kInvalidArgument,
                           .message = "'" + header + "' is not a header; write name=value"});
    }
    headers.push_back(
        {std::string_view(header).substr(0, mark), std::string_view(header).substr(mark + 1)});
  }
  Source source(options);
  if (source.bad()) {
    return context.Fail(
        {.kind = client::ErrorKind::kInvalidArgument, .message = "cannot read " + options.file});
  }
  client::Client client = context.Connect();
  auto producer = client.OpenProducer({.queue = options.queue, .producer_id = options.producer_id});
  if (!producer.ok()) return context.Fail(producer.error());

  auto outcome = std::make_shared<Outcome>();
  const auto done = [outcome](const client::Result<client::Published>& result) {
    const std::lock_guard lock(outcome->mu);
    if (!result.ok()) {
      ++outcome->failed;
      if (!outcome->error) outcome->error = result.error();
      return;
    }
    ++outcome->confirmed;
    if (result->duplicate) ++outcome->duplicates;
    if (!outcome->first) outcome->first = *result;
    outcome->last_offset = result->offset;
  };

  const Clock::time_point begin = Clock::now();
  std::string payload;
  uint64_t sent = 0;
  bool showed = false;
  std::optional<client::Error> stopped;
  while (!Interrupted() && !stopped && source.Next(&payload)) {
    if (options.rate > 0) {
      std::this_thread::sleep_until(
          begin + std::chrono::duration_cast<Clock::duration>(
                      std::chrono::duration<double>(static_cast<double>(sent) / options.rate)));
    }
    const client::Message message{.payload = payload, .key = options.key, .headers = headers};
    const Clock::time_point give_up = Clock::now() + context.timeout_ms();
    for (;;) {  // in slices, so that a wait can be shown and interrupted
      const client::Status status =
          producer->PublishAsync(message, done, client::milliseconds(1000));
      if (status.ok()) break;
      if (status.error().kind != client::ErrorKind::kTimedOut || Clock::now() >= give_up ||
          Interrupted()) {
        stopped = status.error();
        break;
      }
      if (isatty(STDERR_FILENO) == 1) {
        ShowBlocked(*producer);
        showed = true;
      }
    }
    ++sent;
  }
  if (showed) std::cerr << "\r\033[K";
  const client::Status flushed = producer->Flush(context.timeout_ms());
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (flushed.ok()) (void)producer->Close();
  const std::lock_guard lock(outcome->mu);
  Report(context, *outcome, seconds);
  if (outcome->error) return context.Fail(*outcome->error);
  if (stopped) return context.Fail(*stopped);
  return flushed.ok() ? kOk : context.Fail(flushed.error());
}

}  // namespace

void AddPub(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* pub = AddCommand(app, context, "pub", "Publishes records and waits until they are kept",
                             &Run, &options);
  pub->add_option("QUEUE", options->queue)->required();
  pub->add_option("MESSAGE", options->messages,
                  "Payloads; without any and without --file, each line of stdin is one");
  pub->add_option("-f,--file", options->file, "The file's content is the payload");
  pub->add_flag("--lines", options->lines, "Each line of the file is a payload");
  pub->add_option("-n,--count", options->count, "Publish the messages that many times")
      ->check(CLI::PositiveNumber);
  pub->add_option("--rate", options->rate, "At most this many records per second")
      ->check(CLI::PositiveNumber);
  pub->add_option("-k,--key", options->key, "Key of the records");
  pub->add_option("-H,--header", options->headers, "name=value; may be repeated")
      ->take_all()
      ->allow_extra_args(false);
  pub->add_option("--producer-id", options->producer_id, "Names the producer across runs");
  pub->footer(
      "Examples:\n  spillway pub demo hello\n  tail -f log | spillway pub logs --key web1\n"
      "  spillway pub demo tick --count 1000 --rate 50");
}

}  // namespace spillway::cli
