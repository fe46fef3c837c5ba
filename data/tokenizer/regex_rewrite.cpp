#include <fmt/format.h>

#include <cctype>

#include "data/tokenizer/regex.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

// Oniguruma's white space and word characters, as members of a class. PCRE2's own `\s` counts
// U+180E as white space and its `\w` leaves out marks and connectors. Outside of a class
// Oniguruma counts the superscript digits and fractions of Latin-1 as word characters, too.
constexpr std::string_view kSpace = R"(\p{Z}\t-\r\x85)";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kLoneWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\xB2\xB3\xB9\xBC-\xBE)";
constexpr std::string_view kHex = "0-9a-fA-F";

class Rewriter {
 public:
  Rewriter(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      switch (pattern_[at_]) {
        case '\\':
          escape();
          break;
        case '[':
          character_class();
          break;
        case '(':
          group();
          break;
        case '{':
          interval();
          break;
        default:
          out_ += pattern_[at_++];
      }
    }
    return out_;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw DataError(fmt::format("{}: got {} in the pattern {}, which is not supported", where_,
                                what, pattern_));
  }

  char letter_behind() const {
    if (at_ + 1 >= pattern_.size()) refuse("a lone backslash at the end");
    return pattern_[at_ + 1];
  }

  // Copies or rewrites an escape that means the same inside and outside of a class.
  void plain_escape(char letter) {
    if (letter == 'p' || letter == 'P') {
      const std::size_t end = pattern_.find('}', at_);
      if (at_ + 2 >= pattern_.size() || pattern_[at_ + 2] != '{' || end == pattern_.npos) {
        refuse("a property without braces");
      }
      out_ += pattern_.substr(at_, end + 1 - at_);
      at_ = end + 1;
      return;
    }
    if (letter == 'u') {
      if (at_ + 6 > pattern_.size()) refuse("a short \\u");
      out_ += fmt::format("\\x{{{}}}", pattern_.substr(at_ + 2, 4));
      at_ += 6;
      return;
    }
    if (letter == 'v') {
      out_ += "\\x0B";
    } else if (std::isalnum(static_cast<unsigned char>(letter)) == 0 ||
               std::string_view("dDnrtfaex").find(letter) != std::string_view::npos) {
      out_ += '\\';
      out_ += letter;
    } else {
      refuse(fmt::format("\\{}", letter));
    }
    at_ += 2;
  }

  void escape() {
    const char letter = letter_behind();
    std::string_view members;
    switch (letter) {
      case 's':
      case 'S':
        members = kSpace;
        break;
      case 'w':
      case 'W':
        members = kLoneWord;
        break;
      case 'h':
      case 'H':
        members = kHex;
        break;
      case 'A':
      case 'z':
      case 'Z':
        out_ += '\\';
        out_ += letter;
        at_ += 2;
        return;
      default:
        plain_escape(letter);
        return;
    }
    out_ += std::isupper(static_cast<unsigned char>(letter)) ? "[^" : "[";
    out_ += members;
    out_ += ']';
    at_ += 2;
  }

  // The members up to the closing bracket go to `out_`; returns whether `\S` was among them.
  bool class_members() {
    bool not_space = false;
    while (true) {
      if (at_ >= pattern_.size()) refuse("a class without end");
      const char c = pattern_[at_];
      if (c == ']') break;
      if (c == '[') {
        const std::size_t end = pattern_.find(":]", at_);
        if (pattern_.substr(at_, 2) != "[:" || end == pattern_.npos) refuse("a nested class");
        out_ += pattern_.substr(at_, end + 2 - at_);
        at_ = end + 2;
      } else if (c == '&' && pattern_.substr(at_, 2) == "&&") {
        refuse("&& in a class");
      } else if (c != '\\') {
        out_ += c;
        ++at_;
      } else {
        const char letter = letter_behind();
        if (letter == 's' || letter == 'w' || letter == 'h') {
          out_ += letter == 's' ? kSpace : letter == 'w' ? kWord : kHex;
          at_ += 2;
        } else if (letter == 'S') {
          not_space = true;
          at_ += 2;
        } else {
          plain_escape(letter);
        }
      }
    }
    ++at_;
    return not_space;
  }

  void character_class() {
    ++at_;
    const bool negated = at_ < pattern_.size() && pattern_[at_] == '^';
    if (negated) ++at_;
    const std::string before = std::move(out_);
    out_.clear();
    const bool not_space = class_members();
    const std::string members = std::move(out_);
    if (members.empty() && !not_space) refuse("an empty class");
    out_ = before;
    if (!not_space) {
      out_ += fmt::format("[{}{}]", negated ? "^" : "", members);
    } else if (members.empty()) {
      out_ += fmt::format("[{}{}]", negated ? "" : "^", kSpace);
    } else if (negated) {
      out_ += fmt::format("(?:(?=[{}])[^{}])", kSpace, members);
    } else {
      out_ += fmt::format("(?:[^{}]|[{}])", kSpace, members);
    }
  }

  void group() {
    static constexpr std::string_view kKnown[] = {
        "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?i)", "(?-i:", "(?-i)"};
    if (pattern_.substr(at_, 2) != "(?") {
      if (pattern_.substr(at_, 2) == "(*") refuse("(*");
      out_ += pattern_[at_++];
      return;
    }
    for (const std::string_view known : kKnown) {
      if (pattern_.substr(at_, known.size()) != known) continue;
      out_ += known;
      at_ += known.size();
      return;
    }
    refuse(pattern_.substr(at_, 4));
  }

  // `{n,m}+` repeats the whole interval in Oniguruma and is possessive in PCRE2; `{,m}` starts at
  // zero in Oniguruma and is plain text in PCRE2.
  void interval() {
    std::size_t end = at_ + 1;
    const auto digits = [&] {
      const std::size_t start = end;
      while (end < pattern_.size() && std::isdigit(static_cast<unsigned char>(pattern_[end]))) {
        ++end;
      }
      return std::string(pattern_.substr(start, end - start));
    };
    std::string low = digits();
    const bool comma = end < pattern_.size() && pattern_[end] == ',';
    if (comma) ++end;
    const std::string high = comma ? digits() : low;
    if (end >= pattern_.size() || pattern_[end] != '}' || (low.empty() && high.empty())) {
      out_ += pattern_[at_++];
      return;
    }
    ++end;
    if (low.empty()) low.push_back('0');
    const char behind = end < pattern_.size() ? pattern_[end] : '\0';
    if (behind == '+') {
      if (low != "0" && low != "1") refuse("a repeated interval");
      out_ += low == "0" ? '*' : '+';
      at_ = end + 1;
      return;
    }
    if (behind == '?' && !comma) refuse("{n}?");
    out_ += comma ? fmt::format("{{{},{}}}", low, high) : fmt::format("{{{}}}", low);
    at_ = end;
  }

  std::string_view pattern_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string rewrite_pattern(std::string_view pattern, const std::string& where) {
  return Rewriter(pattern, where).run();
}

}  // namespace limbic::data
