#include "data/template/jinja/text.h"

#include <fmt/format.h>
#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>

#include "data/tokenizer/utf8.h"

namespace limbic::data::jinja {
namespace {

constexpr std::size_t kEnd = std::string_view::npos;

template <class Mapping>
std::string map_case(std::string_view text, Mapping mapping) {
  auto wide = icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())));
  mapping(wide);
  std::string out;
  wide.toUTF8String(out);
  return out;
}

bool contains(std::string_view characters, char32_t wanted) {
  for (std::size_t i = 0; i < characters.size();) {
    if (next_code_point(characters, i) == wanted) return true;
  }
  return false;
}

template <class Predicate>
bool all(std::string_view text, Predicate predicate) {
  for (std::size_t i = 0; i < text.size();) {
    if (!predicate(next_code_point(text, i))) return false;
  }
  return !text.empty();
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (u_charType(static_cast<UChar32>(c))) {
    case U_UNASSIGNED:
    case U_CONTROL_CHAR:
    case U_FORMAT_CHAR:
    case U_PRIVATE_USE_CHAR:
    case U_SURROGATE:
    case U_SPACE_SEPARATOR:
    case U_LINE_SEPARATOR:
    case U_PARAGRAPH_SEPARATOR:
      return false;
    default:
      return true;
  }
}

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

std::vector<std::string> split_at_spaces(std::string_view text, std::int64_t limit) {
  std::vector<std::string> parts;
  while (!(text = strip_left(text)).empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) >= limit) {
      parts.emplace_back(text);
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      std::size_t next = end;
      if (is_space(next_code_point(text, next))) break;
      end = next;
    }
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return parts;
}

std::vector<std::string> split_at_spaces_from_right(std::string_view text, std::int64_t limit) {
  std::vector<std::string> parts;
  while (!(text = strip_right(text)).empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) >= limit) {
      parts.emplace_back(text);
      break;
    }
    std::size_t start = text.size();
    while (start > 0) {
      const std::size_t before = previous_character(text, start);
      std::size_t next = before;
      if (is_space(next_code_point(text, next))) break;
      start = before;
    }
    parts.emplace_back(text.substr(start));
    text = text.substr(0, start);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

template <class IsStart>
std::string capitalize_at(std::string_view text, IsStart is_start) {
  std::string out;
  bool start = true;
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t begin = i;
    const char32_t c = next_code_point(text, i);
    const std::string_view character = text.substr(begin, i - begin);
    out += start ? to_upper(character) : to_lower(character);
    start = is_start(c);
  }
  return out;
}

}  // namespace

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

std::vector<std::size_t> character_starts(std::string_view text) {
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < text.size(); next_code_point(text, i)) starts.push_back(i);
  starts.push_back(text.size());
  return starts;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::string_view strip_left(std::string_view text, const std::string* characters) {
  std::size_t start = 0;
  while (start < text.size()) {
    std::size_t next = start;
    const char32_t c = next_code_point(text, next);
    if (!(characters ? contains(*characters, c) : is_space(c))) break;
    start = next;
  }
  return text.substr(start);
}

std::string_view strip_right(std::string_view text, const std::string* characters) {
  std::size_t end = text.size();
  while (end > 0) {
    const std::size_t before = previous_character(text, end);
    std::size_t next = before;
    const char32_t c = next_code_point(text, next);
    if (!(characters ? contains(*characters, c) : is_space(c))) break;
    end = before;
  }
  return text.substr(0, end);
}

std::string_view strip(std::string_view text, const std::string* characters) {
  return strip_right(strip_left(text, characters), characters);
}

std::string to_upper(std::string_view text) {
  return map_case(text, [](icu::UnicodeString& s) { s.toUpper(icu::Locale::getRoot()); });
}

std::string to_lower(std::string_view text) {
  return map_case(text, [](icu::UnicodeString& s) { s.toLower(icu::Locale::getRoot()); });
}

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  std::size_t first = 0;
  const auto title =
      static_cast<char32_t>(u_totitle(static_cast<UChar32>(next_code_point(text, first))));
  std::string out;
  // Characters like U+00DF have no single title-case character; upper-casing the text knows more.
  std::size_t again = 0;
  if (title == next_code_point(text, again)) {
    const std::string upper = to_upper(text.substr(0, first));
    std::size_t rest = 0;
    append_utf8(out, next_code_point(upper, rest));
    out += to_lower(std::string_view(upper).substr(rest));
  } else {
    append_utf8(out, title);
  }
  return out + to_lower(text.substr(first));
}

std::string title_words(std::string_view text) {
  return capitalize_at(text, [](char32_t c) {
    return is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
  });
}

std::string title_letters(std::string_view text) {
  return capitalize_at(text, [](char32_t c) { return !u_isalpha(static_cast<UChar32>(c)); });
}

bool all_letters(std::string_view text) {
  return all(text, [](char32_t c) { return u_isalpha(static_cast<UChar32>(c)) != 0; });
}

bool all_digits(std::string_view text) {
  return all(text, [](char32_t c) { return u_isdigit(static_cast<UChar32>(c)) != 0; });
}

bool all_letters_or_digits(std::string_view text) {
  return all(text, [](char32_t c) { return u_isalnum(static_cast<UChar32>(c)) != 0; });
}

bool all_spaces(std::string_view text) { return all(text, is_space); }

bool is_upper(std::string_view text) { return to_upper(text) == text && to_lower(text) != text; }

bool is_lower(std::string_view text) { return to_lower(text) == text && to_upper(text) != text; }

std::vector<std::string> split(std::string_view text, const std::string* separator,
                               std::int64_t limit) {
  if (!separator) return split_at_spaces(text, limit);
  std::vector<std::string> parts;
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    const std::size_t place = text.find(*separator);
    if (place == kEnd) break;
    parts.emplace_back(text.substr(0, place));
    text.remove_prefix(place + separator->size());
  }
  parts.emplace_back(text);
  return parts;
}

std::vector<std::string> split_from_right(std::string_view text, const std::string* separator,
                                          std::int64_t limit) {
  if (!separator) return split_at_spaces_from_right(text, limit);
  std::vector<std::string> parts;
  while (limit < 0 || static_cast<std::int64_t>(parts.size()) < limit) {
    const std::size_t place = text.rfind(*separator);
    if (place == kEnd) break;
    parts.emplace_back(text.substr(place + separator->size()));
    text = text.substr(0, place);
  }
  parts.emplace_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t before = i;
    const char32_t c = next_code_point(text, i);
    if (!is_line_end(c)) continue;
    if (c == '\r' && i < text.size() && text[i] == '\n') ++i;
    lines.emplace_back(text.substr(start, (keep_ends ? i : before) - start));
    start = i;
  }
  if (start < text.size()) lines.emplace_back(text.substr(start));
  return lines;
}

std::string replace(std::string_view text, std::string_view from, std::string_view to,
                    std::int64_t limit) {
  std::string out;
  std::size_t start = 0, search = 0;
  for (std::int64_t done = 0; limit < 0 || done < limit; ++done) {
    const std::size_t place = text.find(from, search);
    if (place == kEnd) break;
    out.append(text.substr(start, place - start)).append(to);
    start = place + from.size();
    search = start;
    if (!from.empty()) continue;
    if (start == text.size()) break;  // between all characters, and at both ends
    next_code_point(text, search);
  }
  return out.append(text.substr(start));
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string quote(std::string_view text) {
  const bool doubled = text.find('\'') != kEnd && text.find('"') == kEnd;
  const char mark = doubled ? '"' : '\'';
  std::string out(1, mark);
  for (std::size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    if (c == static_cast<char32_t>(mark) || c == '\\') {
      out += '\\';
      append_utf8(out, c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else {
      const auto code = static_cast<std::uint32_t>(c);
      out += code <= 0xFF     ? fmt::format("\\x{:02x}", code)
             : code <= 0xFFFF ? fmt::format("\\u{:04x}", code)
                              : fmt::format("\\U{:08x}", code);
    }
  }
  return out + mark;
}

}  // namespace limbic::data::jinja
