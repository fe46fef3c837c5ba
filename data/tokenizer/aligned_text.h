// A stretch of text that remembers where in the input each of its bytes comes from, while
// normalisation changes it.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/base/error.h"

namespace limbic::data {

// Bytes [begin, end) of the input.
struct ByteRange {
  std::uint32_t begin;
  std::uint32_t end;
};

// A view. `origin` has one range per byte of `text`; null means that byte i stands at `base` + i.
struct AlignedText {
  std::string_view text;
  std::uint32_t base = 0;
  const ByteRange* origin = nullptr;

  ByteRange origin_of(std::size_t i) const {
    if (origin) return origin[i];
    const auto at = static_cast<std::uint32_t>(base + i);
    return {at, at + 1};
  }
  // Where bytes [begin, end) come from. Requires: begin < end.
  ByteRange origin_of(std::size_t begin, std::size_t end) const {
    return {origin_of(begin).begin, origin_of(end - 1).end};
  }
  AlignedText part(std::size_t begin, std::size_t end) const {
    return {text.substr(begin, end - begin), static_cast<std::uint32_t>(base + begin),
            origin ? origin + begin : nullptr};
  }
};

// The most bytes that the rules of a tokenizer may make of so many: a few of somebody else's could
// make a text endless.
constexpr std::size_t most_bytes_of(std::size_t bytes) { return 100 * bytes + 10'000; }

[[noreturn]] inline void refuse_growth(std::size_t limit) {
  throw DataError(fmt::format(
      "tokenizer: got rules that make a text of more than {} bytes, want less (limit)", limit));
}

// Owns a changed text. `tracked` = false leaves `origin` empty: then only the text counts.
struct TextBuffer {
  std::string text;
  std::vector<ByteRange> origin;
  std::size_t limit = std::string::npos;  // of bytes

  void clear() {
    text.clear();
    origin.clear();
  }
  // Appends `piece`, every byte of which comes from `from`. Throws DataError beyond the limit.
  void append(std::string_view piece, ByteRange from, bool tracked) {
    if (text.size() + piece.size() > limit) refuse_growth(limit);
    text += piece;
    if (tracked) origin.resize(origin.size() + piece.size(), from);
  }
  // Appends bytes [begin, end) of `source` with their origins.
  void append(const AlignedText& source, std::size_t begin, std::size_t end, bool tracked) {
    text += source.text.substr(begin, end - begin);
    if (!tracked) return;
    for (std::size_t i = begin; i < end; ++i) origin.push_back(source.origin_of(i));
  }
  AlignedText view(bool tracked) const { return {text, 0, tracked ? origin.data() : nullptr}; }
};

}  // namespace limbic::data
