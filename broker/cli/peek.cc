// spillway peek
#include <iostream>

#include "broker/base/registry.gen.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"
#include "broker/cli/show_record.h"

namespace spillway::cli {
namespace {

struct Options {
  std::string queue;
  std::string from = "earliest";
  uint32_t count = registry::limit::kDefaultPeekMessages;
  ShowOptions show;
};

int Run(const Context& context, const Options& options) {
  const auto start = ParseStart(options.from, NowUnixMs());
  if (!start.ok()) return context.Fail(start.error());
  const auto records = context.Admin().Peek(options.queue, *start, options.count);
  if (!records.ok()) return context.Fail(records.error());
  for (const v1::PlacedRecord& placed : *records) {
    const std::string encoded = placed.record().SerializeAsString();
    ShowRecord(context, {placed.offset(), placed.appended_at_unix_ms(), 0, encoded},
               options.show.Parsed());
  }
  if (records->empty() && !context.json()) std::cerr << "nothing is kept from there on\n";
  return kOk;
}

}  // namespace

void AddPeek(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* peek = AddCommand(app, context, "peek", "Shows records without delivering them",
                              "  spillway peek orders\n"
                              "  spillway peek orders --from last:3 --format full\n"
                              "  spillway peek orders --from 42 -n 1 --json\n",
                              &Run, &options);
  peek->add_option("QUEUE", options->queue, "Where from")->required();
  peek->add_option("--from", options->from, "OFFSET, TIME, earliest, last:N")
      ->type_name("PLACE")
      ->capture_default_str();
  peek->add_option("-n,--count", options->count, "That many; fewer if they exceed 1 MiB together")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{1}, registry::limit::kMaxPageSize));
  AddShowOptions(peek, &options->show);
}

}  // namespace spillway::cli
