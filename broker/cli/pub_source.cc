#include "broker/cli/pub_source.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace spillway::cli {
namespace {

using client::Error;
using client::ErrorKind;
using client::Result;

constexpr int kAskMs = 100;
constexpr size_t kReadBytes = 64 << 10;

Error Bad(std::string message) {
  return {.kind = ErrorKind::kInvalidArgument, .message = std::move(message)};
}

std::string ErrnoText(int error) {
  char text[256] = {};
  return strerror_r(error, text, sizeof text);
}

}  // namespace

bool LineReader::Fill() {
  if (ended_) return false;
  for (;;) {
    if (stop_ && stop_()) {
      stopped_ = true;
      break;
    }
    // A signal may come between the question and the wait; hence the bound.
    pollfd in{.fd = fd_, .events = POLLIN, .revents = 0};
    const int ready = poll(&in, 1, kAskMs);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    buffer_.erase(0, begin_);
    begin_ = 0;
    const size_t before = buffer_.size();
    if (before > kMaxInputBytes) {
      failure_ = "it is larger than any record may be";
      break;
    }
    buffer_.resize(before + kReadBytes);
    const ssize_t n = read(fd_, buffer_.data() + before, kReadBytes);
    const int error = errno;
    buffer_.resize(before + static_cast<size_t>(n < 0 ? 0 : n));
    if (n > 0) return true;
    if (n < 0 && (error == EINTR || error == EAGAIN)) continue;
    if (n < 0) failure_ = ErrnoText(error);
    break;
  }
  ended_ = true;
  return false;
}

std::optional<std::string> LineReader::Next() {
  size_t looked = begin_;
  for (;;) {
    const size_t newline = buffer_.find('\n', looked);
    if (newline != std::string::npos) {
      std::string line = buffer_.substr(begin_, newline - begin_);
      begin_ = newline + 1;
      return line;
    }
    const size_t unfinished = buffer_.size() - begin_;
    if (Fill()) {
      looked = begin_ + unfinished;  // Fill moves what is left to the front
      continue;
    }
    // What was cut off by a stop or a failure is no line.
    if (unfinished == 0 || stopped_ || !failure_.empty()) return std::nullopt;
    std::string line = buffer_.substr(begin_);
    begin_ = buffer_.size();
    return line;
  }
}

std::string LineReader::Rest() {
  while (Fill()) {
  }
  std::string rest = buffer_.substr(begin_);
  begin_ = buffer_.size();
  return rest;
}

Result<std::unique_ptr<RecordSource>> RecordSource::Open(const SourceOptions& options,
                                                         std::function<bool()> stop) {
  const bool by_line = options.lines || options.json_lines;
  if (!options.messages.empty() && (!options.file.empty() || by_line)) {
    return Bad("give messages, or a file or lines, not both");
  }
  if (options.lines && options.json_lines)
    return Bad("--lines and --json-lines exclude each other");
  auto source = std::unique_ptr<RecordSource>(new RecordSource());
  source->stop_ = std::move(stop);
  source->json_lines_ = options.json_lines;
  source->count_ = options.count;
  if (!options.messages.empty()) {
    for (const std::string& message : options.messages) {
      source->fixed_.push_back({.payload = message, .key = {}, .headers = {}});
    }
    return source;
  }
  const bool whole = !options.file.empty() && !by_line;
  if (!whole && options.count != 1) {
    return Bad("--count repeats messages or a file; lines are published once");
  }
  source->fd_ = STDIN_FILENO;
  if (!options.file.empty() && options.file != "-") {
    source->fd_ = open(options.file.c_str(), O_RDONLY | O_CLOEXEC);
    if (source->fd_ < 0) return Bad("cannot read " + options.file + ": " + ErrnoText(errno));
    source->owns_fd_ = true;
  }
  source->lines_ = std::make_unique<LineReader>(source->fd_, source->stop_);
  if (!whole) return source;
  source->fixed_.push_back({.payload = source->lines_->Rest(), .key = {}, .headers = {}});
  source->stopped_ = source->lines_->stopped();
  if (!source->lines_->failure().empty()) {
    return Bad("cannot read " + options.file + ": " + source->lines_->failure());
  }
  return source;
}

RecordSource::~RecordSource() {
  if (owns_fd_) close(fd_);
}

Result<const Record*> RecordSource::Next() {
  if (stopped_ || (fixed_.empty() && lines_ == nullptr)) return nullptr;
  if (fixed_.empty()) return NextLine();
  if (next_ == fixed_.size() * count_) return nullptr;
  if (stop_ && stop_()) {
    stopped_ = true;
    return nullptr;
  }
  return &fixed_[next_++ % fixed_.size()];
}

Result<const Record*> RecordSource::NextLine() {
  for (;;) {
    auto line = lines_->Next();
    if (!line) {
      stopped_ = lines_->stopped();
      if (!lines_->failure().empty()) return Bad("cannot read the input: " + lines_->failure());
      return nullptr;
    }
    ++line_;
    if (!json_lines_) {
      record_.payload = *std::move(line);
      return &record_;
    }
    if (line->find_first_not_of(" \t\r") == std::string::npos) continue;
    auto parsed = ParseRecordJson(*line);
    if (!parsed.ok()) {
      Error error = parsed.error();
      error.message = "line " + std::to_string(line_) + ": " + error.message;
      return error;
    }
    record_ = *std::move(parsed);
    return &record_;
  }
}

}  // namespace spillway::cli
