// Regular expressions of tokenizer files. They are written for Oniguruma; PCRE2 runs them, after a
// rewriting that gives `\s`, `\w` and a few others Oniguruma's meaning. What cannot be given the
// same meaning is refused by name.
//
// The classes of characters are those of the installed PCRE2 (10.42 knows Unicode 14; ICU 72, which
// normalises, knows 15). Characters assigned later count as neither letters nor digits here, and
// the `tokenizers` package, which knows more of them, may cut next to them elsewhere.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace limbic::data {

// The same pattern in PCRE2's language (for UTF and UCP). `where` names the place for messages.
// Throws DataError.
std::string rewrite_pattern(std::string_view pattern, const std::string& where);

// What one thread needs to run any number of expressions; not shared between threads.
class RegexWorkspace {
 public:
  RegexWorkspace();
  ~RegexWorkspace();
  RegexWorkspace(const RegexWorkspace&) = delete;
  RegexWorkspace& operator=(const RegexWorkspace&) = delete;

 private:
  friend class RegexMatches;
  pcre2_real_match_data_8* data_;
  pcre2_real_match_context_8* context_;
  pcre2_real_jit_stack_8* stack_;
};

// A compiled expression; const use from several threads is safe.
class Regex {
 public:
  // Throws DataError that begins with `where`.
  Regex(std::string_view pattern, const std::string& where);
  // Matches the text itself, letter by letter.
  static Regex literal(std::string_view text, const std::string& where);

 private:
  friend class RegexMatches;
  struct Compiled {};
  Regex(Compiled, const std::string& pcre, const std::string& where);
  std::unique_ptr<pcre2_real_code_8, void (*)(pcre2_real_code_8*)> code_;
};

// The matches in order, left to right, never overlapping. An empty match just behind another match
// does not count. Requires: well-formed UTF-8 that outlives the object.
class RegexMatches {
 public:
  RegexMatches(const Regex& regex, std::string_view text, RegexWorkspace& workspace)
      : regex_(regex), text_(text), workspace_(workspace) {}
  // False at the end. Throws DataError when the engine gives up (its stack is bounded).
  bool next();
  std::size_t begin() const { return begin_; }
  std::size_t end() const { return end_; }

 private:
  const Regex& regex_;
  std::string_view text_;
  RegexWorkspace& workspace_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t from_ = 0;
  bool matched_ = false;
};

}  // namespace limbic::data
