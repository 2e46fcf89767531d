#include "broker/cli/show_record.h"

#include <iostream>

#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/record_json.h"

namespace spillway::cli {

void AddShowOptions(CLI::App* command, ShowOptions* options) {
  command
      ->add_option("--format", options->format,
                   "payload (a line each), raw (without newlines: the bytes), full (offset, time, "
                   "key, headers), or auto: full on a terminal, else payload")
      ->type_name("FORMAT")
      ->check(CLI::IsMember({"auto", "payload", "raw", "full"}).description(""))
      ->capture_default_str();
}

RecordFormat ShowOptions::Parsed() const {
  if (format == "payload") return RecordFormat::kPayload;
  if (format == "raw") return RecordFormat::kRaw;
  if (format == "full") return RecordFormat::kFull;
  return StdoutIsTerminal() ? RecordFormat::kFull : RecordFormat::kPayload;
}

void ShowRecord(const Context& context, const client::RecordView& record, RecordFormat format) {
  if (context.json()) {
    PrintJson(RecordJson(record));
    return;
  }
  if (format == RecordFormat::kPayload || format == RecordFormat::kRaw) {
    std::cout << record.payload() << (format == RecordFormat::kRaw ? "" : "\n");
    return;
  }
  std::string meta = std::to_string(record.offset()) + "  " + Rfc3339(record.appended_at_unix_ms());
  if (record.attempt() > 1) meta += "  attempt " + std::to_string(record.attempt());
  if (!record.key().empty()) meta += "  " + Printable(record.key());
  for (const client::Header& header : record.headers()) {
    meta += "  " + Printable(header.name) + "=" + Printable(header.value);
  }
  std::cout << Styled(Style::kDim, meta) << "  " << Printable(record.payload()) << "\n";
}

void ShowGap(const std::vector<client::OffsetRange>& ranges, client::GapReason reason) {
  for (const client::OffsetRange& range : ranges) {
    std::cerr << "spillway: offsets " << range.first_offset << " to " << range.end() - 1
              << " are gone (" << EnumName(static_cast<v1::GapReason>(static_cast<int>(reason)))
              << ")\n";
  }
}

}  // namespace spillway::cli
