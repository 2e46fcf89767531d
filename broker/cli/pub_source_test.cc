#include "broker/cli/pub_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace spillway::cli {
namespace {

using namespace std::string_literals;

const auto kNever = [] { return false; };

// A pipe with its writing end open.
struct Pipe {
  Pipe() { EXPECT_EQ(pipe(ends), 0); }
  ~Pipe() {
    close(ends[0]);
    Close();
  }
  void Write(const std::string& text) {
    EXPECT_EQ(write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void Close() {
    if (ends[1] >= 0) close(ends[1]);
    ends[1] = -1;
  }
  int ends[2] = {-1, -1};
};

std::vector<std::string> Lines(const std::string& text) {
  Pipe pipe;
  pipe.Write(text);
  pipe.Close();
  LineReader reader(pipe.ends[0], kNever);
  std::vector<std::string> lines;
  while (auto line = reader.Next()) lines.push_back(*line);
  EXPECT_EQ(reader.failure(), "");
  return lines;
}

TEST(LineReader, Lines) {
  using V = std::vector<std::string>;
  EXPECT_EQ(Lines(""), V{});
  EXPECT_EQ(Lines("a"), V{"a"});
  EXPECT_EQ(Lines("a\nb\n"), (V{"a", "b"}));
  EXPECT_EQ(Lines("\n\nx"), (V{"", "", "x"}));
  EXPECT_EQ(Lines("a\0b\xff\nc\r\n"s), (V{"a\0b\xff"s, "c\r"}));
}

TEST(LineReader, LinesAcrossReads) {
  Pipe pipe;
  const std::string piece(30'000, 'x');
  std::thread writer([&] {
    for (int i = 0; i < 5; ++i) pipe.Write(piece);  // one line, larger than a read
    pipe.Write("\nsecond\nthird");
    pipe.Close();
  });
  LineReader reader(pipe.ends[0], kNever);
  EXPECT_EQ(reader.Next(), piece + piece + piece + piece + piece);
  EXPECT_EQ(reader.Next(), "second");
  EXPECT_EQ(reader.Next(), "third");
  EXPECT_EQ(reader.Next(), std::nullopt);
  writer.join();
}

// Ctrl-C while nothing comes: what is whole is given, what is cut off is not.
TEST(LineReader, CanBeStoppedWhileItWaits) {
  Pipe pipe;
  pipe.Write("whole\ncut");
  bool stop = false;
  LineReader reader(pipe.ends[0], [&] { return stop; });
  EXPECT_EQ(reader.Next(), "whole");
  stop = true;
  EXPECT_EQ(reader.Next(), std::nullopt);
  EXPECT_TRUE(reader.stopped());
}

TEST(LineReader, AFailedReadIsSaid) {
  const int folder = open("/", O_RDONLY | O_CLOEXEC);
  LineReader reader(folder, kNever);
  EXPECT_EQ(reader.Next(), std::nullopt);
  EXPECT_EQ(reader.failure(), "Is a directory");
  EXPECT_FALSE(reader.stopped());
  close(folder);
}

std::vector<std::string> Payloads(const SourceOptions& options, std::string* error = nullptr) {
  std::vector<std::string> out;
  auto source = RecordSource::Open(options, kNever);
  if (!source.ok()) {
    if (error != nullptr) *error = source.error().message;
    return out;
  }
  for (;;) {
    const auto record = (*source)->Next();
    if (!record.ok() && error != nullptr) *error = record.error().message;
    if (!record.ok() || *record == nullptr) return out;
    out.push_back((*record)->payload);
  }
}

std::string FileWith(const std::string& content) {
  static int n = 0;
  std::string path = testing::TempDir() + "source" + std::to_string(++n);
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(RecordSource, Messages) {
  using V = std::vector<std::string>;
  EXPECT_EQ(Payloads({.messages = {"a", ""}}), (V{"a", ""}));
  EXPECT_EQ(Payloads({.messages = {"a", "b"}, .count = 2}), (V{"a", "b", "a", "b"}));
}

TEST(RecordSource, Files) {
  using V = std::vector<std::string>;
  const std::string path = FileWith("a\n\0\xff\nb"s);
  EXPECT_EQ(Payloads({.file = path}), V{"a\n\0\xff\nb"s});
  EXPECT_EQ(Payloads({.file = path, .count = 2}).size(), 2);
  EXPECT_EQ(Payloads({.file = path, .lines = true}), (V{"a", "\0\xff"s, "b"}));
  EXPECT_EQ(Payloads({.file = FileWith("")}), V{""});  // an empty file is an empty record
  EXPECT_EQ(Payloads({.file = FileWith(""), .lines = true}), V{});
}

TEST(RecordSource, JsonLines) {
  using V = std::vector<std::string>;
  std::string error;
  EXPECT_EQ(Payloads({.file = FileWith("{\"payload\": \"a\"}\n\n{\"payload_base64\": \"/w==\"}\n"),
                      .json_lines = true}),
            (V{"a", "\xff"}));
  EXPECT_EQ(
      Payloads({.file = FileWith("{\"payload\": \"a\"}\n\n{}\n"), .json_lines = true}, &error),
      V{"a"});
  EXPECT_EQ(error, "line 3: the record has neither payload nor payload_base64");
}

TEST(RecordSource, RefusesWhatContradicts) {
  const std::string path = FileWith("x");
  for (const SourceOptions& options :
       std::vector<SourceOptions>{{.messages = {"a"}, .file = path},
                                  {.messages = {"a"}, .lines = true},
                                  {.file = path, .lines = true, .json_lines = true},
                                  {.file = path, .lines = true, .count = 2},
                                  {.count = 2},
                                  {.file = "/no/such/file"},
                                  {.file = testing::TempDir()}}) {
    std::string error;
    EXPECT_TRUE(Payloads(options, &error).empty());
    EXPECT_NE(error, "");
  }
}

TEST(RecordSource, StopsBetweenRecords) {
  int asked = 0;
  auto source = RecordSource::Open({.messages = {"a"}, .count = 100}, [&] { return ++asked > 3; });
  ASSERT_TRUE(source.ok());
  int given = 0;
  while (*(*source)->Next() != nullptr) ++given;
  EXPECT_EQ(given, 3);
  EXPECT_TRUE((*source)->stopped());
}

}  // namespace
}  // namespace spillway::cli
