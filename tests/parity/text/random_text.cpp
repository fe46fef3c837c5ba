#include "tests/parity/text/random_text.h"

#include "data/tokenizer/utf8.h"

namespace limbic::data {
namespace {

std::vector<char32_t> letters_of(const std::string& text) {
  std::vector<char32_t> letters;
  for (std::size_t i = 0; i < text.size();) letters.push_back(next_code_point(text, i));
  return letters;
}

}  // namespace

class RandomTexts::Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ULL + 0x1234567) {}

  std::size_t below(std::size_t limit) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state_ >> 33) % limit;
  }

  template <class T>
  const T& one_of(const std::vector<T>& items) {
    return items[below(items.size())];
  }

  // What would be a surrogate is a letter beyond them.
  char32_t scalar(std::uint32_t first, std::uint32_t last) {
    const auto code = static_cast<char32_t>(first + below(last - first + 1));
    return code >= 0xD800 && code < 0xE000 ? code + 0x800 : code;
  }

 private:
  std::uint64_t state_;
};

RandomTexts::RandomTexts(const Json& material, std::vector<std::string> tokens)
    : words_(material["words"].get<std::vector<std::string>>()),
      blocks_(material["blocks"].get<std::vector<std::pair<std::uint32_t, std::uint32_t>>>()),
      tokens_(std::move(tokens)) {
  for (const Json& letters : material["alphabets"]) alphabets_.push_back(letters_of(letters));
}

void RandomTexts::add_part(Draws& draws, std::string& out) const {
  const std::size_t kind = draws.below(16);
  if (kind < 6) {
    out += draws.one_of(words_);
  } else if (kind < 11) {
    const std::vector<char32_t>& alphabet = draws.one_of(alphabets_);
    const std::size_t count = 1 + draws.below(6);
    for (std::size_t i = 0; i < count; ++i) append_utf8(out, draws.one_of(alphabet));
  } else if (kind < 12) {
    const std::size_t count = 1 + draws.below(4);
    for (std::size_t i = 0; i < count; ++i) append_utf8(out, draws.scalar(0, 0x10FFFF));
  } else if (kind < 14) {
    const auto [first, last] = draws.one_of(blocks_);
    const std::size_t count = 1 + draws.below(5);
    for (std::size_t i = 0; i < count; ++i) append_utf8(out, draws.scalar(first, last));
  } else if (kind < 15 && !tokens_.empty()) {
    out += draws.one_of(tokens_);
  } else {
    const char32_t letter = draws.one_of(alphabets_[0]);
    const std::size_t count = 1 + draws.below(40);
    for (std::size_t i = 0; i < count; ++i) append_utf8(out, letter);
  }
}

std::string RandomTexts::text(std::uint64_t number) const {
  Draws draws(number);
  std::string out;
  const std::size_t parts = 1 + draws.below(8);
  for (std::size_t i = 0; i < parts; ++i) add_part(draws, out);
  return out;
}

}  // namespace limbic::data
