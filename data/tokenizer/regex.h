// Regular expressions of tokenizer files. They are written for Oniguruma; PCRE2 runs them, after a
// rewriting that gives `\s`, `\w` and a few others Oniguruma's meaning. What cannot be given the
// same meaning is refused by name.
//
// The classes of characters are those of Unicode 16, as in the `tokenizers` package: what the
// installed PCRE2 does not know yet, it is shown as an older character (newer_characters.h). Only
// scripts other than Han, and younger characters that stand in a pattern by themselves, are not
// found that way.
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
  std::string stand_ins_;
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
  Regex(Compiled, const std::string& pcre, const std::string& where, bool has_classes);
  std::unique_ptr<pcre2_real_code_8, void (*)(pcre2_real_code_8*)> code_;
  bool has_classes_;  // looks at kinds of characters, not only at their values
};

// The matches in order, left to right, never overlapping. An empty match just behind another match
// does not count. Requires: well-formed UTF-8 that outlives the object; one object at a time per
// workspace.
class RegexMatches {
 public:
  RegexMatches(const Regex& regex, std::string_view text, RegexWorkspace& workspace);
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
