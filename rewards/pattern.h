// Users' regular expressions: PCRE2 with Unicode properties and bounded work.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;

namespace limbic::rewards {

enum class Letters { kAsWritten, kAnyCase };

// Const use from several threads is safe. Matching throws DataError when an expression needs more
// than about a million steps on a text; ill-formed UTF-8 never matches.
class Pattern {
 public:
  // Throws ConfigError that begins with `where`.
  Pattern(std::string_view pattern, const std::string& where,
          Letters letters = Letters::kAsWritten);

  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::string text;  // of the first group when the pattern has one, else of the whole match
  };
  // Left to right, never overlapping.
  std::vector<Match> find_all(std::string_view text) const;
  bool search(std::string_view text) const;
  // The whole text is one match.
  bool full(std::string_view text) const;

 private:
  bool match(std::string_view text, std::size_t from, unsigned options, Match& out) const;
  std::unique_ptr<pcre2_real_code_8, void (*)(pcre2_real_code_8*)> code_;
  std::unique_ptr<pcre2_real_match_context_8, void (*)(pcre2_real_match_context_8*)> limits_;
};

// The text with every special character escaped.
std::string quoted_pattern(std::string_view text);

}  // namespace limbic::rewards
