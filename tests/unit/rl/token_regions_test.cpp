#include "rl/policy/token_regions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/test_run.h"

namespace limbic::rl {
namespace {

using testing::IsEmpty;

// Byte-level tokens of LIMBIC's tests: `<a>` is three of them.
class TokenRegions : public testing::Test {
 protected:
  TokenRegions()
      : tokenizer_(data::Tokenizer::load(LIMBIC_SOURCE_DIR "/tests/unit/template/golden/model")) {}

  // The text with the marked tokens in brackets.
  std::string marked(const std::string& text, const std::string& tag) {
    const auto ids = tokenizer_.encode(text);
    const std::vector<bool> inside = tokens_in_region(tokenizer_, ids, tag);
    if (inside.empty()) return "";
    std::string out;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::string piece = tokenizer_.decode(std::span(ids).subspan(i, 1), false);
      out += inside[i] ? "[" + piece + "]" : piece;
    }
    return out;
  }

  data::Tokenizer tokenizer_;
};

TEST_F(TokenRegions, TheLastCompletePairWithoutItsMarkers) {
  EXPECT_EQ(marked("<a>no</a>x<a>it</a>z", "a"), "<a>no</a>x<a>[i][t]</a>z");
  EXPECT_EQ(marked("<a> it </a>", "a"), "<a> [i][t] </a>");
}

TEST_F(TokenRegions, NoPairOrNothingInItIsNoRegion) {
  EXPECT_THAT(marked("<a>it", "a"), IsEmpty());
  EXPECT_THAT(marked("<a></a>", "a"), IsEmpty());
  EXPECT_THAT(marked("it", "b"), IsEmpty());
}

// A character of several tokens belongs to the region as a whole.
TEST_F(TokenRegions, PartsOfCharacters) {
  const auto ids = tokenizer_.encode("<a>\xF0\x9F\x98\x80</a>");
  const std::vector<bool> inside = tokens_in_region(tokenizer_, ids, "a");
  ASSERT_EQ(inside.size(), ids.size());
  std::string text;
  std::vector<std::int32_t> marked_ids;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (inside[i]) marked_ids.push_back(ids[i]);
  }
  EXPECT_EQ(tokenizer_.decode(marked_ids, false), "\xF0\x9F\x98\x80");
}

}  // namespace
}  // namespace limbic::rl
