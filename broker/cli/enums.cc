#include "broker/cli/enums.h"

#include <algorithm>
#include <cctype>

namespace spillway::cli {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;

// The values' common prefix: DURABILITY_ of DURABILITY_UNSPECIFIED.
size_t PrefixLength(const EnumDescriptor* type) {
  static constexpr std::string_view kZero = "UNSPECIFIED";
  const std::string& zero = type->value(0)->name();
  return zero.ends_with(kZero) ? zero.size() - kZero.size() : 0;
}

}  // namespace

std::string EnumName(const EnumValueDescriptor* value) {
  if (value->number() == 0) return "";
  return value->name().substr(PrefixLength(value->type()));
}

const EnumValueDescriptor* FindEnum(const EnumDescriptor* type, std::string_view name) {
  std::string wanted(name);
  std::transform(wanted.begin(), wanted.end(), wanted.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::toupper(c));
  });
  for (int i = 1; i < type->value_count(); ++i) {
    if (EnumName(type->value(i)) == wanted) return type->value(i);
  }
  return nullptr;
}

std::vector<std::string> EnumNames(const EnumDescriptor* type) {
  std::vector<std::string> names;
  for (int i = 1; i < type->value_count(); ++i) names.push_back(EnumName(type->value(i)));
  return names;
}

}  // namespace spillway::cli
