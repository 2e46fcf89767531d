#include "broker/cli/json.h"

#include <google/protobuf/descriptor.h>

#include <string>

#include "broker/cli/enums.h"
#include "broker/cli/format.h"

namespace spillway::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

Json Value(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* r = message.GetReflection();
  const bool repeated = index >= 0;
  std::string scratch;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT64:
      return repeated ? r->GetRepeatedUInt64(message, field, index) : r->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? r->GetRepeatedUInt32(message, field, index) : r->GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? r->GetRepeatedBool(message, field, index) : r->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumName(repeated ? r->GetRepeatedEnum(message, field, index)
                               : r->GetEnum(message, field));
    case FieldDescriptor::CPPTYPE_STRING:
      return repeated ? r->GetRepeatedStringReference(message, field, index, &scratch)
                      : r->GetStringReference(message, field, &scratch);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(repeated ? r->GetRepeatedMessage(message, field, index)
                             : r->GetMessage(message, field));
    default:
      return nullptr;  // the protocol has no other types
  }
}

// Maps are repeated entries of a key and a value.
Json MapValue(const Message& message, const FieldDescriptor* field) {
  std::map<std::string, Json> sorted;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, field); ++i) {
    const Json entry = ToJson(message.GetReflection()->GetRepeatedMessage(message, field, i));
    sorted[entry.value("key", "")] = entry.contains("value") ? entry["value"] : Json(0);
  }
  Json out = Json::object();
  for (const auto& [key, value] : sorted) out[key] = value;
  return out;
}

}  // namespace

std::string Base64(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t v = 0;
    for (size_t k = 0; k < 3; ++k) {
      v = v << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0);
    }
    for (size_t k = 0; k < 4; ++k) out.push_back(k <= n ? kAlphabet[v >> (18 - 6 * k) & 63] : '=');
  }
  return out;
}

std::optional<std::string> FromBase64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  std::string out;
  uint32_t v = 0;
  int bits = 0;
  for (const char c : text) {
    const size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    v = v << 6 | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    out.push_back(static_cast<char>(v >> bits & 0xff));
  }
  return out;
}

void PutBytes(const std::string& name, std::string_view bytes, Json* out) {
  if (IsUtf8(bytes)) {
    (*out)[name] = bytes;
  } else {
    (*out)[name + "_base64"] = Base64(bytes);
  }
}

Json ToJson(const Message& message) {
  Json out = Json::object();
  const Reflection* r = message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const std::string& name = field->name();
    if (field->is_map()) {
      out[name] = MapValue(message, field);
    } else if (field->is_repeated()) {
      Json list = Json::array();
      for (int k = 0; k < r->FieldSize(message, field); ++k)
        list.push_back(Value(message, field, k));
      out[name] = std::move(list);
    } else if (field->has_presence() && !r->HasField(message, field)) {
      continue;
    } else if (field->type() == FieldDescriptor::TYPE_BYTES) {
      std::string scratch;
      PutBytes(name, r->GetStringReference(message, field, &scratch), &out);
    } else {
      out[name] = Value(message, field, -1);
    }
  }
  return out;
}

}  // namespace spillway::cli
