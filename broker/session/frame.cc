#include "broker/session/frame.h"

#include <google/protobuf/stubs/logging.h>

#include "broker/wire/varint.h"

namespace spillway::session {
namespace {

// Protobuf tells only its log which string is not UTF-8; keep that for the
// thread that parses, and keep the log quiet whatever peers send.
thread_local std::string parse_log;

void KeepLog(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  if (message.size() < 1024) parse_log = message;
}

void CaptureLogOnce() {
  static const bool done = [] {
    google::protobuf::SetLogHandler(&KeepLog);
    return true;
  }();
  static_cast<void>(done);
}

// From "String field 'spillway.v1.PublishOpen.queue' contains invalid UTF-8 …".
std::string FieldInLog() {
  const size_t open = parse_log.find('\'');
  if (open == std::string::npos) return {};
  const size_t close = parse_log.find('\'', open + 1);
  if (close == std::string::npos) return {};
  const std::string full = parse_log.substr(open + 1, close - open - 1);
  const size_t dot = full.rfind('.');
  return dot == std::string::npos ? full : full.substr(dot + 1);
}

std::optional<Error> Parse(std::string_view bytes, std::string_view field,
                           google::protobuf::Message* message) {
  CaptureLogOnce();
  parse_log.clear();
  message->Clear();
  const bool parsed = message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  if (parsed && parse_log.empty()) return std::nullopt;
  std::string path(field);
  const std::string text = FieldInLog();
  if (text.empty()) {
    if (path.empty()) path = "request";
    std::string what = path + " is not an encoded " + message->GetDescriptor()->name();
    return InvalidArgument(std::move(path), std::move(what));
  }
  if (!path.empty()) path += '.';
  path += text;
  std::string what = path + " is not valid UTF-8";
  return InvalidArgument(std::move(path), std::move(what));
}

}  // namespace

std::string EncodeFrame(uint32_t number, const google::protobuf::Message& message) {
  const size_t size = message.ByteSizeLong();
  std::string out;
  out.resize(1 + wire::VarintSize(size) + size);
  char* p = out.data();
  *p++ = static_cast<char>(number << 3 | 2);
  p = wire::PutVarint(p, size);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(p));
  return out;
}

std::optional<Error> ParseField(std::string_view bytes, std::string_view field,
                                google::protobuf::Message* message) {
  return Parse(bytes, field, message);
}

std::optional<Error> ParseRequest(std::string_view bytes, google::protobuf::Message* message) {
  return Parse(bytes, {}, message);
}

}  // namespace spillway::session
