// spillway pub
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "broker/cli/context.h"
#include "broker/cli/format.h"
#include "broker/cli/pub_source.h"

namespace spillway::cli {
namespace {

using client::ErrorKind;
using client::Result;
using Clock = std::chrono::steady_clock;

// How long a wait may keep Ctrl-C waiting.
constexpr client::milliseconds kSlice{100};
// How long Ctrl-C waits for what was sent to be confirmed; a second one does not.
constexpr client::milliseconds kGrace{2000};

struct Options {
  std::string queue;
  SourceOptions source;
  double rate = 0;
  std::string key;
  std::vector<std::string> headers;
  std::string producer_id;
  bool create = false;
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

// Beside the thread that publishes, which may wait for credit: shows why it waits, on
// a terminal, and closes the producer at Ctrl-C, which ends the wait.
class Minder {
 public:
  explicit Minder(client::Producer* producer)
      : producer_(producer), thread_([this](const std::stop_token& stop) { Run(stop); }) {}

 private:
  void Run(const std::stop_token& stop) {
    const bool terminal = isatty(STDERR_FILENO) == 1;
    bool showed = false;
    std::mutex mu;
    std::condition_variable_any tick;
    std::unique_lock lock(mu);
    while (!tick.wait_for(lock, stop, kSlice, [&] { return stop.stop_requested(); })) {
      if (Interrupted()) {
        (void)producer_->Close(kGrace);
        break;
      }
      if (!terminal) continue;
      const auto blocked = producer_->blocked();
      if (blocked && blocked->waiting.count() > 500) {
        std::cerr << "\r\033[K"
                  << (blocked->connected ? "waits for credit: " : "waits for the broker ")
                  << client::Name(blocked->reason) << " for "
                  << HumanDuration(static_cast<uint64_t>(blocked->waiting.count()))
                  << "; ends when " << client::EndsWhen(blocked->reason) << std::flush;
        showed = true;
      } else if (showed) {
        std::cerr << "\r\033[K" << std::flush;
        showed = false;
      }
    }
    if (showed) std::cerr << "\r\033[K" << std::flush;
  }

  client::Producer* producer_;
  std::jthread thread_;  // last: it ends before what it uses
};

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
  if (!outcome.first) {
    if (!outcome.error) std::cerr << "nothing was published\n";
    return;
  }
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

Result<std::vector<client::Header>> HeadersOf(const Options& options) {
  std::vector<client::Header> headers;
  for (const std::string& header : options.headers) {
    const size_t mark = header.find('=');
    if (mark == std::string::npos || mark == 0) {
      return client::Error{.kind = ErrorKind::kInvalidArgument,
                           .message = "'" + header + "' is not a header; write name=value"};
    }
    headers.push_back(
        {std::string_view(header).substr(0, mark), std::string_view(header).substr(mark + 1)});
  }
  return headers;
}

Result<client::Producer> OpenProducer(const Context& context, const Options& options,
                                      client::Client* client) {
  const client::ProducerOptions open{.queue = options.queue, .producer_id = options.producer_id};
  auto producer = client->OpenProducer(open);
  if (producer.ok() || !options.create || producer.error().kind != ErrorKind::kNotFound) {
    return producer;
  }
  const auto created = context.Admin().CreateQueue(options.queue, {});
  if (!created.ok() && created.error().kind != ErrorKind::kAlreadyExists) return created.error();
  return client->OpenProducer(open);
}

// Waits in slices, so that Ctrl-C is not kept waiting.
void WaitUntil(Clock::time_point due) {
  while (!Interrupted() && Clock::now() < due) {
    std::this_thread::sleep_until(std::min(due, Clock::now() + kSlice));
  }
}

// Gives the source's records to the producer, until its end or the first error. What
// is not confirmed yet may still fail.
class Publishing {
 public:
  Publishing(const Context& context, const Options& options,
             const std::vector<client::Header>& headers, client::Producer* producer)
      : context_(context), options_(options), headers_(headers), producer_(producer) {}

  client::Status Run(RecordSource* source) {
    const Clock::time_point begin = Clock::now();
    for (uint64_t sent = 0; !failed(); ++sent) {
      if (options_.rate > 0) {
        WaitUntil(begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                              static_cast<double>(sent) / options_.rate)));
      }
      const auto record = source->Next();
      if (!record.ok()) return record.error();
      if (*record == nullptr) break;
      if (client::Status status = Send(**record); !status.ok()) return status;
    }
    return client::Ok();
  }
  // Waits for the confirmations.
  client::Status Flush() {
    const Clock::time_point give_up = Clock::now() + context_.timeout;
    for (std::optional<Clock::time_point> interrupted;;) {
      client::Status status = producer_->Flush(kSlice);
      const Clock::time_point now = Clock::now();
      if (Interrupted() && !interrupted) interrupted = now;
      if (status.ok() || status.error().kind != ErrorKind::kTimedOut || now >= give_up ||
          (interrupted && now >= *interrupted + kGrace)) {
        return status;
      }
    }
  }
  Outcome& outcome() { return *outcome_; }

 private:
  bool failed() const {
    const std::lock_guard lock(outcome_->mu);
    return outcome_->error.has_value();
  }

  client::Status Send(const Record& record) {
    std::vector<client::Header> headers = headers_;
    for (const auto& [name, value] : record.headers) headers.push_back({name, value});
    return producer_->PublishAsync({.payload = record.payload,
                                    .key = record.key.empty() ? options_.key : record.key,
                                    .headers = headers},
                                   Done(), context_.timeout);
  }

  client::PublishCallback Done() const {
    return [outcome = outcome_](const Result<client::Published>& result) {
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
  }

  const Context& context_;
  const Options& options_;
  const std::vector<client::Header>& headers_;
  client::Producer* producer_;
  std::shared_ptr<Outcome> outcome_ = std::make_shared<Outcome>();
};

int Run(const Context& context, const Options& options) {
  const auto headers = HeadersOf(options);
  if (!headers.ok()) return context.Fail(headers.error());
  (void)Interrupted();  // from here on Ctrl-C lets what was sent be confirmed
  auto source = RecordSource::Open(options.source, Interrupted);
  if (!source.ok()) return context.Fail(source.error());
  client::Client client = context.Connect();
  auto producer = OpenProducer(context, options, &client);
  if (!producer.ok()) return context.Fail(producer.error());
  if (options.source.messages.empty() && options.source.file.empty() && isatty(STDIN_FILENO) == 1) {
    std::cerr << "each line is a record; Ctrl-D ends\n";
  }

  const Clock::time_point begin = Clock::now();
  Publishing publishing(context, options, *headers, &*producer);
  client::Status sent = client::Ok();
  client::Status flushed = client::Ok();
  {
    const Minder minder(&*producer);
    sent = publishing.Run(source->get());
    flushed = publishing.Flush();
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const uint64_t unconfirmed = producer->unconfirmed();
  if (flushed.ok()) (void)producer->Close();

  Outcome& outcome = publishing.outcome();
  const std::lock_guard lock(outcome.mu);
  Report(context, outcome, seconds);
  const std::string explain = "see who does not settle: spillway explain " + options.queue;
  if (outcome.error) return context.Fail(*outcome.error);
  if (!sent.ok() && !Interrupted()) {
    const bool waited = sent.error().kind == ErrorKind::kTimedOut;
    return waited ? context.Fail(sent.error(), explain) : context.Fail(sent.error());
  }
  if (!flushed.ok() && unconfirmed > 0) {
    std::cerr << "spillway: " << CountOf(unconfirmed, "record")
              << " not confirmed; they may be kept or not\n";
    return Interrupted() ? static_cast<int>(kInterrupted) : context.Fail(flushed.error());
  }
  if ((*source)->stopped() || !sent.ok()) return kInterrupted;
  return flushed.ok() ? static_cast<int>(kOk) : context.Fail(flushed.error());
}

}  // namespace

void AddPub(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* pub = AddCommand(app, context, "pub", "Publishes records and waits until they are kept",
                             "  spillway pub demo hello\n"
                             "  spillway pub demo 'one more' --key customer-7 --header trace=4bf9\n"
                             "  spillway pub demo tick --count 1000 --rate 50\n"
                             "  spillway pub images --file cat.jpg\n"
                             "  tail -f access.log | spillway pub logs --key web1\n"
                             "  spillway replay orders --json | spillway pub copy --json-lines\n",
                             &Run, &options);
  pub->add_option("QUEUE", options->queue, "Where to")->required();
  pub->add_option("MESSAGE", options->source.messages,
                  "Payloads; without any and without --file, each line of stdin is one");
  pub->add_option("-f,--file", options->source.file,
                  "The payload is what the file holds; - is stdin")
      ->type_name("FILE");
  pub->add_flag("--lines", options->source.lines, "Each line of the file is a payload");
  pub->add_flag(
      "--json-lines", options->source.json_lines,
      "Each line of stdin or the file is a record as sub and replay print it with --json");
  AddCount(pub, "-n,--count", &options->source.count,
           "Publish the messages, or the file, that many times", 1);
  pub->add_option("--rate", options->rate, "At most this many records per second")
      ->type_name("N")
      ->check(Positive());
  pub->add_option("-k,--key", options->key, "Key of the records that have none of their own");
  pub->add_option("-H,--header", options->headers, "name=value; may be repeated")
      ->type_name("NAME=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  pub->add_option("--producer-id", options->producer_id, "Names the producer across runs");
  pub->add_flag("--create", options->create, "Create the queue if there is none");
}

}  // namespace spillway::cli
