// Where `spillway pub` gets its records from.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/cli/record_json.h"
#include "clients/cpp/spillway/error.h"

namespace spillway::cli {

// More than any record may have (64 MiB), even as base64. What is longer is refused
// before it fills the memory.
inline constexpr size_t kMaxInputBytes = 128 << 20;

// Lines of a file descriptor, without their newlines; the last may lack one. Unlike
// std::getline it can be stopped while it waits. Not thread-safe.
class LineReader {
 public:
  // Does not own `fd`. `stop` is asked several times a second.
  LineReader(int fd, std::function<bool()> stop) : fd_(fd), stop_(std::move(stop)) {}

  // The next line; nothing at the end, when stopped, or when reading failed.
  std::optional<std::string> Next();
  // Everything that is left.
  std::string Rest();
  // Whether it ended because `stop` said so; or why reading failed, else "".
  bool stopped() const { return stopped_; }
  const std::string& failure() const { return failure_; }

 private:
  bool Fill();  // false at the end

  int fd_;
  std::function<bool()> stop_;
  std::string buffer_;
  size_t begin_ = 0;  // of what was not given yet
  bool ended_ = false;
  bool stopped_ = false;
  std::string failure_;
};

struct SourceOptions {
  std::vector<std::string> messages;
  std::string file;  // "-" is stdin; empty: none was named
  bool lines = false;
  bool json_lines = false;
  uint64_t count = 1;
};

// Gives one record after the other.
class RecordSource {
 public:
  // Errors: options that exclude each other, an unreadable file.
  static client::Result<std::unique_ptr<RecordSource>> Open(const SourceOptions& options,
                                                            std::function<bool()> stop);
  ~RecordSource();
  RecordSource(const RecordSource&) = delete;
  RecordSource& operator=(const RecordSource&) = delete;

  // The next record, valid until the next call; nullptr at the end or when stopped.
  // Errors: input that is not a record, or cannot be read.
  client::Result<const Record*> Next();
  // Whether it ended before everything was given.
  bool stopped() const { return stopped_; }

 private:
  RecordSource() = default;
  client::Result<const Record*> NextLine();

  std::function<bool()> stop_;
  bool json_lines_ = false;
  // What is given `count` times; without it, lines.
  std::vector<Record> fixed_;
  uint64_t count_ = 1;
  uint64_t next_ = 0;
  int fd_ = -1;
  bool owns_fd_ = false;
  std::unique_ptr<LineReader> lines_;
  uint64_t line_ = 0;
  Record record_;
  bool stopped_ = false;
};

}  // namespace spillway::cli
