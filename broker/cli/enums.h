// Enum values by their short names: "SYNCED" for DURABILITY_SYNCED.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/generated_enum_reflection.h>

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace spillway::cli {

// "SYNCED"; "" for the UNSPECIFIED zero.
std::string EnumName(const google::protobuf::EnumValueDescriptor* value);
template <typename Enum>
requires std::is_enum_v<Enum> std::string EnumName(Enum value) {
  const auto* found =
      google::protobuf::GetEnumDescriptor<Enum>()->FindValueByNumber(static_cast<int>(value));
  return found == nullptr ? std::to_string(static_cast<int>(value)) : EnumName(found);
}
// By short name in any case, '-' and '_' alike; nullptr if there is none.
const google::protobuf::EnumValueDescriptor* FindEnum(const google::protobuf::EnumDescriptor* type,
                                                      std::string_view name);
// All but UNSPECIFIED.
std::vector<std::string> EnumNames(const google::protobuf::EnumDescriptor* type);

}  // namespace spillway::cli
