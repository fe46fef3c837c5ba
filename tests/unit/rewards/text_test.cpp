#include "rewards/text.h"

#include <gtest/gtest.h>

#include "rewards/pattern.h"
#include "trainer/base/error.h"

namespace limbic::rewards {
namespace {

TEST(Text, NormalizesCaseAndOuterPunctuation) {
  EXPECT_EQ(normalize("  \"Joy!\" \n", {}), "joy");
  EXPECT_EQ(normalize("**Joy**", {}), "joy");
  EXPECT_EQ(normalize("“ÄRGER”。", {}), "ärger");
  EXPECT_EQ(normalize("self-doubt.", {}), "self-doubt");
  EXPECT_EQ(normalize("Joy.", {.lower = false, .strip_punctuation = false}), "Joy.");
}

TEST(Text, KeepsTheSignOfANumber) {
  EXPECT_EQ(normalize("-1", {}), "-1");
  EXPECT_EQ(normalize("- joy", {}), "joy");
}

TEST(Text, ARegionIsTheLastCompletePair) {
  const Region region({"answer"});
  EXPECT_EQ(region.find("<answer>a</answer><answer> b </answer><answer>c"), "b");
  EXPECT_EQ(region.find("<answer>x<answer>y</answer>"), "y");
  EXPECT_EQ(region.find("</answer><answer>y"), std::nullopt);
  EXPECT_EQ(Region({"<|e|>", "<|/e|>"}).find("<|e|>fear<|/e|>"), "fear");
  EXPECT_EQ(Region({}).find(" all "), "all");
}

TEST(Text, ParsesWholeFiniteNumbersOnly) {
  EXPECT_EQ(parse_number(" 0.5 "), 0.5);
  EXPECT_EQ(parse_number("+2"), 2.0);
  EXPECT_EQ(parse_number("0.5 or so"), std::nullopt);
  EXPECT_EQ(parse_number("inf"), std::nullopt);
  EXPECT_EQ(parse_number("nan"), std::nullopt);
  EXPECT_EQ(parse_number(""), std::nullopt);
}

TEST(Text, ShortensAtACharacter) {
  const std::string shown = shortened(std::string(79, 'a') + "ééé");
  EXPECT_EQ(shown, std::string(79, 'a') + "...");
}

TEST(Pattern, GivesTheFirstGroupOrTheMatch) {
  const auto with = Pattern("AU(\\d+)", "p").find_all("AU1, AU12");
  ASSERT_EQ(with.size(), 2u);
  EXPECT_EQ(with[1].text, "12");
  EXPECT_EQ(Pattern("AU\\d+", "p").find_all("x AU1").front().text, "AU1");
}

TEST(Pattern, FullWantsTheWholeText) {
  EXPECT_TRUE(Pattern("a+", "p").full("aaa"));
  EXPECT_FALSE(Pattern("a+", "p").full("aaab"));
  EXPECT_TRUE(Pattern("a+", "p").search("baaab"));
}

TEST(Pattern, RefusesWhatDoesNotCompile) {
  try {
    Pattern("a(", "terms.x.pattern");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_EQ(std::string(error.what()).substr(0, 26), "terms.x.pattern: got 'a(' ");
  }
}

TEST(Pattern, GivesUpInsteadOfRunningForEver) {
  EXPECT_THROW(Pattern("(a+)+$", "p").search(std::string(5000, 'a') + "b"), DataError);
}

TEST(Pattern, IllFormedUtf8DoesNotMatchAndDoesNotThrow) {
  EXPECT_FALSE(Pattern("b", "p").search("\xff\xfe"));
  EXPECT_TRUE(Pattern("b", "p").search("\xff b"));
}

}  // namespace
}  // namespace limbic::rewards
