#include "data/template/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "data/template/jinja/text.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data::jinja {
namespace {

constexpr std::size_t kNowhere = std::string_view::npos;

// Line ends become "\n"; one at the very end goes.
std::string normalize_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (position_ < source_.size()) read_data_and_tag();
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw SyntaxError{line_, message}; }

  std::string_view rest() const { return std::string_view(source_).substr(position_); }
  char at(std::size_t i) const { return i < source_.size() ? source_[i] : '\0'; }

  void add(TokenKind kind, std::string text) {
    tokens_.push_back({kind, line_, std::move(text), {}});
  }

  // Moves behind `size` bytes and keeps the line count.
  void advance(std::size_t size) {
    const std::string_view passed = rest().substr(0, size);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    if (!passed.empty()) line_starting_ = passed.back() == '\n';
    position_ += size;
  }

  void advance_over_spaces() { advance(rest().size() - strip_left(rest()).size()); }

  std::size_t find_tag(std::size_t from) const {
    for (std::size_t i = source_.find('{', from); i != std::string::npos;
         i = source_.find('{', i + 1)) {
      if (at(i + 1) == '{' || at(i + 1) == '%' || at(i + 1) == '#') return i;
    }
    return std::string::npos;
  }

  void read_data_and_tag() {
    const std::size_t tag = find_tag(position_);
    if (tag == std::string::npos) {
      add(TokenKind::kData, std::string(rest()));
      position_ = source_.size();
      return;
    }
    const char kind = at(tag + 1), sign = at(tag + 2);
    add_data(rest().substr(0, tag - position_), sign, kind != '{');
    advance(tag - position_ + 2);
    if (sign == '-' || sign == '+') advance(1);
    if (kind == '#') return skip_comment();
    if (kind == '{') return read_tag(TokenKind::kVariableBegin, TokenKind::kVariableEnd);
    if (starts_raw()) return read_raw();
    read_tag(TokenKind::kBlockBegin, TokenKind::kBlockEnd);
  }

  void add_data(std::string_view text, char sign, bool strips_line) {
    if (sign == '-') {
      text = strip_right(text);
    } else if (sign != '+' && strips_line) {
      const std::size_t line = text.rfind('\n') + 1;  // 0 when there is none
      if ((line > 0 || line_starting_) && strip(text.substr(line)).empty()) {
        text = text.substr(0, line);
      }
    }
    if (!text.empty()) add(TokenKind::kData, std::string(text));
  }

  void skip_comment() {
    const std::size_t end = source_.find("#}", position_);
    if (end == std::string::npos) fail("missing end of comment `#}`");
    const bool may_sign = end > position_;
    const char sign = may_sign ? source_[end - 1] : '\0';
    advance(end + 2 - position_);
    finish_tag(sign);
  }

  // Behind `#}` or `%}`.
  void finish_tag(char sign) {
    if (sign == '-') {
      advance_over_spaces();
    } else if (sign != '+' && at(position_) == '\n') {
      advance(1);
    }
  }

  bool starts_raw() const {
    const std::string_view text = strip_left(rest());
    return text.starts_with("raw") && (strip_left(text.substr(3)).starts_with("%}") ||
                                       strip_left(text.substr(3)).starts_with("-%}"));
  }

  void read_raw() {
    const std::size_t head = source_.find("%}", position_);
    const bool strips = source_[head - 1] == '-';
    advance(head + 2 - position_);
    if (strips) advance_over_spaces();
    for (std::size_t i = source_.find("{%", position_); i != std::string::npos;
         i = source_.find("{%", i + 1)) {
      const char sign = at(i + 2);
      std::string_view tail = std::string_view(source_).substr(i + 2);
      if (sign == '-' || sign == '+') tail.remove_prefix(1);
      tail = strip_left(tail);
      if (!tail.starts_with("endraw")) continue;
      tail = strip_left(tail.substr(6));
      const char end_sign = tail.empty() ? '\0' : tail[0];
      if (end_sign == '-' || end_sign == '+') tail.remove_prefix(1);
      if (!tail.starts_with("%}")) continue;
      add_data(rest().substr(0, i - position_), sign, true);
      advance(static_cast<std::size_t>(tail.data() - source_.data()) + 2 - position_);
      return finish_tag(end_sign);
    }
    fail("missing `{% endraw %}`");
  }

  void read_tag(TokenKind begin, TokenKind end) {
    const int opened = line_;
    const bool block = end == TokenKind::kBlockEnd;
    add(begin, block ? "{%" : "{{");
    brackets_.clear();
    while (position_ < source_.size()) {
      if (brackets_.empty() && read_tag_end(end)) return;
      read_token();
    }
    throw SyntaxError{opened, fmt::format("`{}` is never closed", block ? "{%" : "{{")};
  }

  bool read_tag_end(TokenKind end) {
    const bool block = end == TokenKind::kBlockEnd;
    const std::string_view close = block ? "%}" : "}}";
    const char first = at(position_);
    const bool strips = first == '-' && rest().substr(1).starts_with(close);
    const bool keeps = block && first == '+' && rest().substr(1).starts_with(close);
    if (!strips && !keeps && !rest().starts_with(close)) return false;
    add(end, std::string(close));
    advance(strips || keeps ? 3 : 2);
    if (block) {
      finish_tag(first);
    } else if (strips) {
      advance_over_spaces();
    }
    return true;
  }

  void read_token() {
    const char c = at(position_);
    if (strip_left(rest()).size() < rest().size()) return advance_over_spaces();
    if (is_digit(c)) return read_number();
    if (is_name_start(c)) return read_name();
    if (c == '\'' || c == '"') return read_string(c);
    read_operator();
  }

  void read_name() {
    std::size_t size = 0;
    while (is_name_part(at(position_ + size))) ++size;
    add(TokenKind::kName, std::string(rest().substr(0, size)));
    advance(size);
  }

  // Digits with single underscores between them, from `i`.
  std::size_t digits_end(std::size_t i) const {
    while (is_digit(at(i)) || (at(i) == '_' && is_digit(at(i + 1)))) ++i;
    return i;
  }

  void read_number() {
    std::size_t end = digits_end(position_);
    bool is_float = false;
    // `a.0.5` is an index into an index.
    const bool may_be_float = position_ == 0 || at(position_ - 1) != '.';
    if (may_be_float && at(end) == '.' && is_digit(at(end + 1))) {
      is_float = true;
      end = digits_end(end + 1);
    }
    if (may_be_float && (at(end) == 'e' || at(end) == 'E')) {
      const std::size_t sign = at(end + 1) == '+' || at(end + 1) == '-' ? 2 : 1;
      if (is_digit(at(end + sign))) {
        is_float = true;
        end = digits_end(end + sign);
      }
    }
    std::string digits(rest().substr(0, end - position_));
    std::erase(digits, '_');
    if (is_name_part(at(end)))
      fail(fmt::format("got `{}{}`, want a decimal number", digits, at(end)));
    add(TokenKind::kNumber, digits);
    tokens_.back().number =
        is_float ? Value(std::strtod(digits.c_str(), nullptr)) : integer(digits);
    advance(end - position_);
  }

  Value integer(const std::string& digits) const {
    std::int64_t value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result.ec != std::errc{}) fail(fmt::format("got {}, want an integer of 64 bits", digits));
    return Value(value);
  }

  void read_string(char mark) {
    std::size_t end = position_ + 1;
    while (end < source_.size() && source_[end] != mark) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size())
      fail(fmt::format("the string that starts with {} is never closed", mark));
    const std::string_view raw = rest().substr(1, end - position_ - 1);
    add(TokenKind::kString, unescape(raw));
    advance(end + 1 - position_);
  }

  std::string unescape(std::string_view raw) const {
    std::string out;
    for (std::size_t i = 0; i < raw.size();) {
      if (raw[i] != '\\') {
        out += raw[i++];
        continue;
      }
      i = unescape_one(raw, i + 1, out);
    }
    return out;
  }

  // `i` is behind the backslash; returns the position behind the escape.
  std::size_t unescape_one(std::string_view raw, std::size_t i, std::string& out) const {
    static constexpr std::string_view kLetters = "abfnrtv\\'\"";
    static constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
    const char c = raw[i];
    if (const std::size_t known = kLetters.find(c); known != kNowhere) {
      out += kMeanings[known];
      return i + 1;
    }
    if (c == '\n') return i + 1;
    if (c >= '0' && c <= '7') {
      std::size_t size = 1;
      while (size < 3 && i + size < raw.size() && raw[i + size] >= '0' && raw[i + size] <= '7')
        ++size;
      append_code(std::stoul(std::string(raw.substr(i, size)), nullptr, 8), out);
      return i + size;
    }
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (c == 'N') fail("character names `\\N{...}` are not supported");
    if (digits == 0) {
      out += '\\';
      out += c;
      return i + 1;
    }
    const std::string_view hex = raw.substr(i + 1, digits);
    if (hex.size() < digits || hex.find_first_not_of("0123456789abcdefABCDEF") != kNowhere) {
      fail(fmt::format("truncated escape `\\{}{}` in a string", c, hex));
    }
    append_code(std::stoul(std::string(hex), nullptr, 16), out);
    return i + 1 + digits;
  }

  void append_code(unsigned long code, std::string& out) const {
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      fail(fmt::format("U+{:04X} in a string is no character", code));
    }
    append_utf8(out, static_cast<char32_t>(code));
  }

  void read_operator() {
    static constexpr std::string_view kLong[] = {"//", "**", "==", "!=", ">=", "<="};
    static constexpr std::string_view kShort = "+-/*%~[](){}><=.:|,;";
    for (const std::string_view op : kLong) {
      if (!rest().starts_with(op)) continue;
      add(TokenKind::kOperator, std::string(op));
      return advance(2);
    }
    const char c = at(position_);
    if (kShort.find(c) == kNowhere) fail(fmt::format("unexpected character '{}'", c));
    balance(c);
    add(TokenKind::kOperator, std::string(1, c));
    advance(1);
  }

  void balance(char c) {
    if (c == '(' || c == '[' || c == '{') {
      brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty()) fail(fmt::format("unexpected '{}'", c));
      if (brackets_.back() != c) fail(fmt::format("got '{}', want '{}'", c, brackets_.back()));
      brackets_.pop_back();
    }
  }

  std::string source_;
  std::size_t position_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string brackets_;  // the closing ones that are due
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  const std::size_t broken = find_invalid_utf8(source);
  if (broken != kNowhere) {
    const auto line =
        std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(broken), '\n');
    throw SyntaxError{static_cast<int>(line) + 1, "got bytes that are not UTF-8"};
  }
  return Lexer(normalize_lines(source)).run();
}

std::string describe(const Token& token) {
  if (token.kind == TokenKind::kEnd) return "the end of the template";
  if (token.kind == TokenKind::kString) return "a string";
  return fmt::format("`{}`", token.text);
}

}  // namespace limbic::data::jinja
