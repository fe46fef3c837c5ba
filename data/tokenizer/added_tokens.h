// Tokens that are found in a text before it is split into words. Source: the `added_tokens` list of
// tokenizer.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace limbic::data {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
  bool special = false;
};

// A stretch of text: a token found, or (id = kText) what lies between.
struct AddedTokenSplit {
  static constexpr std::int32_t kText = -1;
  std::size_t begin;
  std::size_t end;
  std::int32_t id;
};

// Finds tokens leftmost first and, at one place, longest first.
class AddedTokenMatcher {
 public:
  // `spelling` is what to look for: the content, or its normalised form.
  void add(const AddedToken& token, std::string_view spelling);

  bool empty() const { return tokens_.empty(); }

  // Cuts a text; the parts cover it (white space next to an `lstrip` or `rstrip` token belongs to
  // the token). Requires: well-formed UTF-8.
  void split(std::string_view text, std::vector<AddedTokenSplit>& out) const;

 private:
  struct Node {
    std::vector<std::pair<char, std::uint32_t>> next;
    std::int32_t token = -1;  // index into tokens_
  };

  // Index of the longest token that starts at `at`, or -1.
  std::int32_t longest(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::uint32_t> lengths_;  // bytes of the spelling, per token
  std::vector<Node> nodes_ = std::vector<Node>(1);
  bool starts_[256] = {};
};

}  // namespace limbic::data
