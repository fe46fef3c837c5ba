#include "data/tokenizer/unicode/newer_characters.h"

#include <algorithm>
#include <array>

#include "data/tokenizer/unicode/newer_characters_table.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

constexpr char32_t kFirst = std::begin(kNewerCharacters)->first;
constexpr char32_t kLast = std::prev(std::end(kNewerCharacters))->last;
constexpr unsigned kBlockBits = 6;

// Which blocks of 64 characters have newer ones.
constexpr std::array<bool, (kLast >> kBlockBits) + 1> make_blocks() {
  std::array<bool, (kLast >> kBlockBits) + 1> blocks{};
  for (const NewerCharacters& range : kNewerCharacters) {
    for (std::uint32_t b = range.first >> kBlockBits; b <= range.last >> kBlockBits; ++b) {
      blocks[b] = true;
    }
  }
  return blocks;
}

constexpr auto kBlocks = make_blocks();

}  // namespace

char32_t stand_in(char32_t c) {
  if (c < kFirst || c > kLast || !kBlocks[c >> kBlockBits]) return c;
  const auto* range =
      std::lower_bound(std::begin(kNewerCharacters), std::end(kNewerCharacters), c,
                       [](const NewerCharacters& r, char32_t value) { return r.last < value; });
  return range != std::end(kNewerCharacters) && range->first <= c ? range->stand_in : c;
}

bool has_newer_characters(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    // Below U+0800 there are none.
    if (static_cast<unsigned char>(text[i]) < 0xE0) {
      ++i;
    } else {
      const char32_t c = next_code_point(text, i);
      if (stand_in(c) != c) return true;
    }
  }
  return false;
}

void write_stand_ins(std::string_view text, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < text.size();) append_utf8(out, stand_in(next_code_point(text, i)));
}

}  // namespace limbic::data
