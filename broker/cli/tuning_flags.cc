#include "broker/cli/tuning_flags.h"

#include <algorithm>
#include <cctype>

#include "broker/base/registry.gen.h"
#include "broker/cli/enums.h"
#include "broker/cli/format.h"
#include "broker/cli/parse.h"
#include "broker/cli/suggest.h"

namespace spillway::cli {
namespace {

using client::Error;
using client::ErrorKind;
using client::Status;
using google::protobuf::FieldDescriptor;
using registry::Tunable;

const Tunable* Find(std::string_view name) {
  for (const Tunable& tunable : registry::kTunables) {
    if (tunable.name == name) return &tunable;
  }
  return nullptr;
}

const FieldDescriptor* FieldOf(const Tunable& tunable) {
  return v1::QueueTuning::descriptor()->FindFieldByNumber(tunable.field_number);
}

std::string ShowNumber(const Tunable& tunable, uint64_t value) {
  if (tunable.unit == "bytes") return HumanBytes(value);
  if (tunable.unit == "ms") return HumanDuration(value);
  return HumanCount(value);
}

std::string Join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string Help(const Tunable& tunable) {
  const FieldDescriptor* field = FieldOf(tunable);
  std::string text(tunable.doc);
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    const auto* value =
        field->enum_type()->FindValueByNumber(static_cast<int>(tunable.default_value));
    return text + " One of " + Join(EnumNames(field->enum_type())) + "; default " +
           EnumName(value) + ".";
  }
  return text + " Default " + ShowNumber(tunable, tunable.default_value) + ".";
}

}  // namespace

std::string FlagOf(std::string_view tunable) {
  std::string flag(tunable.ends_with("_ms") ? tunable.substr(0, tunable.size() - 3) : tunable);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return "--" + flag;
}

std::vector<std::string> ValuesOf(std::string_view tunable) {
  const Tunable* found = Find(tunable);
  if (found == nullptr || FieldOf(*found)->cpp_type() != FieldDescriptor::CPPTYPE_ENUM) return {};
  std::vector<std::string> values = EnumNames(FieldOf(*found)->enum_type());
  for (std::string& value : values) value = Lower(value);
  return values;
}

void TuningFlags::Add(CLI::App* command) {
  for (const Tunable& tunable : registry::kTunables) {
    const char* type = tunable.unit == "bytes" ? "SIZE"
                       : tunable.unit == "ms"  ? "DURATION"
                       : tunable.unit.empty()  ? "NAME"
                                               : "N";
    command->add_option(FlagOf(tunable.name), values_[std::string(tunable.name)], Help(tunable))
        ->group("Tuning")
        ->type_name(type);
  }
}

bool TuningFlags::empty() const {
  return std::all_of(values_.begin(), values_.end(),
                     [](const auto& v) { return v.second.empty(); });
}

Status SetTunable(std::string_view name, const std::string& text, v1::QueueTuning* tuning) {
  const Tunable* tunable = Find(name);
  if (tunable == nullptr) {
    return Error{.kind = ErrorKind::kInvalidArgument,
                 .message = "there is no tunable '" + std::string(name) + "'"};
  }
  const FieldDescriptor* field = FieldOf(*tunable);
  const auto* reflection = tuning->GetReflection();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
    const auto* value = FindEnum(field->enum_type(), text);
    if (value == nullptr) {
      const std::vector<std::string> names = EnumNames(field->enum_type());
      return Error{.kind = ErrorKind::kInvalidArgument,
                   .message = FlagOf(name) + ": '" + text + "' is none of " + Join(names) +
                              DidYouMean(Upper(text), names),
                   .field = "tuning." + std::string(name)};
    }
    reflection->SetEnum(tuning, field, value);
    return client::Ok();
  }
  const Result<uint64_t> value = tunable->unit == "bytes" ? ParseSize(text)
                                 : tunable->unit == "ms"  ? ParseDuration(text)
                                                          : ParseCount(text);
  if (!value.ok()) {
    Error error = value.error();
    error.message = FlagOf(name) + ": " + error.message;
    error.field = "tuning." + std::string(name);
    return error;
  }
  if (*value < tunable->min || *value > tunable->max) {
    return Error{.kind = ErrorKind::kInvalidArgument,
                 .message = FlagOf(name) + " may be " + ShowNumber(*tunable, tunable->min) +
                            " to " + ShowNumber(*tunable, tunable->max) + ", not " +
                            ShowNumber(*tunable, *value),
                 .field = "tuning." + std::string(name),
                 .limit = *value < tunable->min ? tunable->min : tunable->max,
                 .actual = *value};
  }
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
    reflection->SetUInt32(tuning, field, static_cast<uint32_t>(*value));
  } else {
    reflection->SetUInt64(tuning, field, *value);
  }
  return client::Ok();
}

client::Result<v1::QueueTuning> TuningFlags::Get() const {
  v1::QueueTuning tuning;
  for (const auto& [name, text] : values_) {
    if (text.empty()) continue;
    const Status status = SetTunable(name, text, &tuning);
    if (!status.ok()) return status.error();
  }
  return tuning;
}

std::string ShowTunable(const v1::QueueTuning& tuning, std::string_view name) {
  const Tunable* tunable = Find(name);
  if (tunable == nullptr) return "";
  const FieldDescriptor* field = FieldOf(*tunable);
  const auto* reflection = tuning.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumName(reflection->GetEnum(tuning, field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return ShowNumber(*tunable, reflection->GetUInt32(tuning, field));
    default:
      return ShowNumber(*tunable, reflection->GetUInt64(tuning, field));
  }
}

}  // namespace spillway::cli
