// spillway explain
#include <iostream>
#include <map>

#include "broker/cli/context.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"

namespace spillway::cli {
namespace {

struct Options {
  std::string subject;
  bool session = false;
  bool numbers = false;
};

// A number by the unit at the end of its name.
std::string ShowNumber(const std::string& name, uint64_t value) {
  if (name.ends_with("_bytes") || name.ends_with("_bytes_total")) return HumanBytes(value);
  if (name.ends_with("_ms")) return HumanDuration(value);
  return HumanCount(value);
}

void ShowNumbers(const google::protobuf::Map<std::string, uint64_t>& numbers, const char* indent) {
  for (const auto& [name, value] :
       std::map<std::string, uint64_t>(numbers.begin(), numbers.end())) {
    std::cout << indent << Styled(Style::kDim, name) << " " << ShowNumber(name, value) << "\n";
  }
}

int Run(const Context& context, const Options& options) {
  client::Admin admin = context.Admin();
  auto answer =
      options.session ? admin.ExplainSession(options.subject) : admin.ExplainQueue(options.subject);
  if (!options.session && !answer.ok() &&
      (answer.error().kind == client::ErrorKind::kNotFound ||
       answer.error().kind == client::ErrorKind::kInvalidArgument)) {
    // Not a queue; perhaps a session.
    auto session = admin.ExplainSession(options.subject);
    if (session.ok()) answer = std::move(session);
  }
  if (!answer.ok()) return context.Fail(answer.error());
  if (context.json()) {
    PrintJson(ToJson(*answer));
    return kOk;
  }
  if (answer->stalls().empty()) std::cout << Styled(Style::kGreen, "nothing waits") << "\n";
  for (const v1::Stall& stall : answer->stalls()) {
    std::cout << Styled(Style::kBold, stall.subject())
              << " waits: " << Styled(Style::kYellow, EnumName(stall.reason())) << " for "
              << HumanDuration(stall.age_ms()) << "\n  ends when: " << stall.ends_when() << "\n";
    ShowNumbers(stall.numbers(), "    ");
  }
  if (options.numbers || answer->stalls().empty()) ShowNumbers(answer->numbers(), "  ");
  return kOk;
}

}  // namespace

void AddExplain(CLI::App* app, Context* context) {
  Options* options = nullptr;
  CLI::App* explain =
      AddCommand(app, context, "explain",
                 "Says why a queue or a session waits, since when, and what would end it",
                 "  spillway explain orders\n"
                 "  spillway explain orders --numbers\n"
                 "  spillway explain s-j33e3z8p9f4nq3mr   # a session of spillway sessions ls\n",
                 &Run, &options);
  explain->add_option("SUBJECT", options->subject, "A queue or a session")->required();
  explain->add_flag("--session", options->session,
                    "It is a session, even if a queue has that name");
  explain->add_flag("--numbers", options->numbers, "Also the numbers of the subject");
}

}  // namespace spillway::cli
