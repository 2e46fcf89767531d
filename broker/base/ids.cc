#include "broker/base/ids.h"

namespace spillway {

bool IsValidName(std::string_view name) {
  if (name.empty() || name.size() > 255 || name.front() == '.') return false;
  for (const char c : name) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
    if (!ok) return false;
  }
  return true;
}

std::string MakeId(std::string_view prefix, Random& random) {
  static constexpr char kDigits[] = "0123456789abcdefghjkmnpqrstvwxyz";
  std::string id(prefix);
  id.push_back('-');
  uint64_t bits = 0;
  for (int i = 0; i < 16; ++i) {
    if (i % 8 == 0) bits = random.Next();
    id.push_back(kDigits[bits & 31]);
    bits >>= 5;
  }
  return id;
}

}  // namespace spillway
