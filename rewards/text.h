// Reading completions: white space, normalised words, numbers, tagged regions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace limbic::rewards {

// Without ASCII white space at both ends.
std::string_view strip(std::string_view text);

// Outer white space always goes.
struct TextRules {
  bool lower = true;              // Unicode lower case
  bool strip_punctuation = true;  // outer punctuation and ASCII symbols, not the sign of a number
};
// Ill-formed UTF-8 becomes U+FFFD.
std::string normalize(std::string_view text, const TextRules& rules);

std::vector<std::string> split_words(std::string_view text);

// The whole text as one finite decimal number.
std::optional<double> parse_number(std::string_view text);

// Well-formed UTF-8 of at most about 80 bytes for details and messages.
std::string shortened(std::string_view text);

// An opening and a closing marker.
struct TagPair {
  std::string open;
  std::string close;

  // `<NAME>` and `</NAME>`.
  static TagPair of_tag(const std::string& name);
};

// A stretch of text, as byte offsets: [begin, end) with its markers, the content inside.
struct TagSpan {
  std::size_t begin = 0;
  std::size_t content_begin = 0;
  std::size_t content_end = 0;
  std::size_t end = 0;
};
// The first complete pair that begins at or behind `from`.
std::optional<TagSpan> find_pair(std::string_view text, const TagPair& pair, std::size_t from = 0);
std::size_t count_of(std::string_view text, std::string_view needle);

// The part of a completion that a term looks at: everything, or the last complete pair of a tag.
class Region {
 public:
  // None: the whole completion; one: a tag's name; two: an opening and a closing marker.
  // Requires: at most two markers.
  explicit Region(const std::vector<std::string>& markers);
  // Stripped; empty when there is no complete pair.
  std::optional<std::string_view> find(std::string_view text) const;
  bool is_whole() const { return !pair_; }
  // "<answer>", for details.
  std::string name() const;

 private:
  std::optional<TagPair> pair_;
};

}  // namespace limbic::rewards
