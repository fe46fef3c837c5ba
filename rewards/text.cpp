#include "rewards/text.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/tokenizer/utf8.h"

namespace limbic::rewards {
namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n\f\v";
constexpr std::size_t kShown = 80;

bool is_outer(char32_t c, bool punctuation) {
  const auto point = static_cast<UChar32>(c);
  if (u_isUWhiteSpace(point)) return true;
  if (!punctuation) return false;
  return c < 0x80 ? c > 0x20 && u_isalnum(point) == 0 : u_ispunct(point) != 0;
}

// Both ends without the characters that `is_outer` names. Requires: well-formed text.
std::string_view strip_outer(std::string_view text, bool punctuation) {
  while (!text.empty()) {
    // The sign of a number belongs to it: -1 and 1 are two labels.
    if (text.size() > 1 && (text[0] == '-' || text[0] == '+') && text[1] >= '0' && text[1] <= '9') {
      break;
    }
    std::size_t after = 0;
    if (!is_outer(data::next_code_point(text, after), punctuation)) break;
    text.remove_prefix(after);
  }
  while (!text.empty()) {
    const std::size_t start = data::previous_character(text, text.size());
    std::size_t position = start;
    if (!is_outer(data::next_code_point(text, position), punctuation)) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

std::string lower_case(std::string_view text) {
  std::string out;
  icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())))
      .toLower(icu::Locale::getRoot())
      .toUTF8String(out);
  return out;
}

}  // namespace

std::string_view strip(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhiteSpace) - first + 1);
}

std::string normalize(std::string_view text, const TextRules& rules) {
  const std::string repaired = data::find_invalid_utf8(text) == std::string_view::npos
                                   ? std::string(text)
                                   : data::repair_utf8(text);
  const std::string_view inner = strip_outer(repaired, rules.strip_punctuation);
  return rules.lower ? lower_case(inner) : std::string(inner);
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::size_t at = text.find_first_not_of(kWhiteSpace);
  while (at != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(kWhiteSpace, at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = text.find_first_not_of(kWhiteSpace, end);
  }
  return words;
}

std::optional<double> parse_number(std::string_view text) {
  text = strip(text);
  if (text.starts_with('+') && text.size() > 1 && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

std::string shortened(std::string_view text) {
  const bool cut = text.size() > kShown;
  std::string out = data::repair_utf8(
      cut ? text.substr(0, data::complete_utf8_prefix(text.substr(0, kShown))) : text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return cut ? out + "..." : out;
}

TagPair TagPair::of_tag(const std::string& name) { return {"<" + name + ">", "</" + name + ">"}; }

std::optional<TagSpan> find_pair(std::string_view text, const TagPair& pair, std::size_t from) {
  const std::size_t begin = text.find(pair.open, from);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::size_t inside = begin + pair.open.size();
  const std::size_t close = text.find(pair.close, inside);
  if (close == std::string_view::npos) return std::nullopt;
  return TagSpan{begin, inside, close, close + pair.close.size()};
}

std::size_t count_of(std::string_view text, std::string_view needle) {
  std::size_t count = 0;
  for (std::size_t at = text.find(needle); at != std::string_view::npos;
       at = text.find(needle, at + needle.size())) {
    ++count;
  }
  return count;
}

Region::Region(const std::vector<std::string>& markers) {
  if (markers.size() == 1) pair_ = TagPair::of_tag(markers[0]);
  if (markers.size() == 2) pair_ = TagPair{markers[0], markers[1]};
}

std::optional<std::string_view> Region::find(std::string_view text) const {
  if (!pair_) return strip(text);
  const std::size_t close = text.rfind(pair_->close);
  if (close == std::string_view::npos) return std::nullopt;
  const std::string_view before = text.substr(0, close);
  const std::size_t open = before.rfind(pair_->open);
  if (open == std::string_view::npos) return std::nullopt;
  return strip(before.substr(open + pair_->open.size()));
}

std::string Region::name() const { return pair_ ? pair_->open : "completion"; }

}  // namespace limbic::rewards
