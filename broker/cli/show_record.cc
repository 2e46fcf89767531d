#include "broker/cli/show_record.h"

#include <iostream>

#include "broker/cli/format.h"

namespace spillway::cli {

void AddShowOptions(CLI::App* command, ShowOptions* options) {
  command->add_option("--format", options->format, "payload, full, or auto (full on a terminal)")
      ->check(CLI::IsMember({"auto", "payload", "full"}));
}

RecordFormat ShowOptions::Parsed() const {
  if (format == "payload") return RecordFormat::kPayload;
  if (format == "full") return RecordFormat::kFull;
  return StdoutIsTerminal() ? RecordFormat::kFull : RecordFormat::kPayload;
}

Json RecordJson(const client::RecordView& record) {
  Json out;
  out["offset"] = record.offset();
  out["appended_at"] = Rfc3339(record.appended_at_unix_ms());
  if (record.attempt() != 0) out["attempt"] = record.attempt();
  if (!record.key().empty()) PutBytes("key", record.key(), &out);
  for (const client::Header& header : record.headers()) {
    Json entry;
    entry["name"] = header.name;
    PutBytes("value", header.value, &entry);
    out["headers"].push_back(std::move(entry));
  }
  PutBytes("payload", record.payload(), &out);
  return out;
}

void ShowRecord(const Context& context, const client::RecordView& record, RecordFormat format) {
  if (context.json()) {
    PrintJson(RecordJson(record));
    return;
  }
  if (format == RecordFormat::kPayload) {
    std::cout << record.payload() << "\n";
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

}  // namespace spillway::cli
