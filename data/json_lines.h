// Streaming reader of JSON lines: one object per line, in .jsonl, .jsonl.gz or .jsonl.zst. Memory
// is bounded by the longest line. Lines end with LF or CRLF, lines of white space are skipped, a
// byte order mark at the start is skipped.
// Source: jsonlines.org; RFC 8259.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "data/byte_source.h"

namespace limbic::data {

struct Line {
  std::string text;         // one JSON object, checked; the bytes of the file without the line end
  std::int64_t number = 0;  // from 1, empty lines counted
};

class JsonLines {
 public:
  static constexpr std::size_t kMaxLineBytes = std::size_t{256} << 20;
  static constexpr std::int64_t kMaxDepth = 512;

  // Throws DataError when the file is missing.
  explicit JsonLines(std::string path);

  // The next line that is not empty; nullopt at the end.
  // Throws DataError `FILE:LINE: got invalid JSON (...), want one object per line`, or the same for
  // invalid UTF-8, another value than an object, nesting over kMaxDepth: the following call goes on
  // with the line behind. Damaged compression and a line over kMaxLineBytes throw once and end it.
  std::optional<Line> next();

  const std::string& path() const { return path_; }
  // Line that was read last; 0 before the first.
  std::int64_t line_number() const { return number_; }

 private:
  bool read_line(std::string& text);
  bool refill();

  std::string path_;
  std::unique_ptr<ByteSource> source_;
  std::string buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::int64_t number_ = 0;
  bool finished_ = false;
};

}  // namespace limbic::data
