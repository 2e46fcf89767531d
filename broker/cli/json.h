// Messages of the protocol as JSON for scripts.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace spillway::cli {

using Json = nlohmann::ordered_json;

// Field names as in the .proto, numbers as numbers, enums without their prefix
// ("SYNCED"), absent messages left out. Bytes as text; if they are not UTF-8, as
// base64 under "<name>_base64".
Json ToJson(const google::protobuf::Message& message);
std::string Base64(std::string_view bytes);
// Nothing if it is not padded base64 of the usual alphabet.
std::optional<std::string> FromBase64(std::string_view text);
// Puts `bytes` at `name`, or at "<name>_base64".
void PutBytes(const std::string& name, std::string_view bytes, Json* out);

}  // namespace spillway::cli
