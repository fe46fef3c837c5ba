#include "rewards/terms/tags.h"

#include <gtest/gtest.h>

#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

const std::string kGood = "<think>why</think>\n<answer>joy</answer>";
const std::string kReversed = "<answer>joy</answer><think>why</think>";

double tags(const std::string& options, const std::string& text) {
  return reward_of("{type: tags, " + options + "}", completion(text));
}

TEST(Tags, OrderedWantsThePairsInOrder) {
  EXPECT_EQ(tags("tags: [think, answer]", kGood), 1.0);
  EXPECT_EQ(tags("tags: [think, answer]", kReversed), 0.0);
  EXPECT_EQ(tags("tags: [think, answer]", "Well. " + kGood + " Done."), 1.0);
  EXPECT_EQ(tags("tags: [think, answer]", "<think>why</think><answer>joy"), 0.0);
}

TEST(Tags, PresentTakesAnyOrder) {
  EXPECT_EQ(tags("tags: [think, answer], mode: present", kReversed), 1.0);
  EXPECT_EQ(tags("tags: [think, answer], mode: present", "<think>a</think>"), 0.0);
}

TEST(Tags, StrictWantsEachPairOnceAndNothingElse) {
  const std::string strict = "tags: [think, answer], mode: strict";
  EXPECT_EQ(tags(strict, " " + kGood + "\n"), 1.0);
  EXPECT_EQ(tags(strict, kReversed), 0.0);
  EXPECT_EQ(tags(strict, "Well. " + kGood), 0.0);
  EXPECT_EQ(tags(strict, kGood + " Done."), 0.0);
  EXPECT_EQ(tags(strict, "<think>a</think> so <answer>joy</answer>"), 0.0);
  EXPECT_EQ(tags(strict, kGood + "<answer>joy</answer>"), 0.0);
}

TEST(Tags, NonEmptyWantsMoreThanWhiteSpace) {
  const std::string empty = "<think> \n</think><answer>joy</answer>";
  EXPECT_EQ(tags("tags: [think, answer]", empty), 0.0);
  EXPECT_EQ(tags("tags: [think, answer], non_empty: false", empty), 1.0);
}

TEST(Tags, PairsAreLiteralMarkers) {
  const std::string pairs = "pairs: [[\"<|e_begin|>\", \"<|e_end|>\"], [\"<|r|>\", \"<|/r|>\"]]";
  EXPECT_EQ(tags(pairs, "<|e_begin|>fear<|e_end|><|r|>I am here<|/r|>"), 1.0);
  EXPECT_EQ(tags(pairs, "<|r|>I am here<|/r|><|e_begin|>fear<|e_end|>"), 0.0);
}

TEST(Tags, NestedTagsStandInsideTheirParent) {
  const std::string nested = "tags: [think, answer], nested: {think: [element, human]}";
  EXPECT_EQ(tags(nested, "<think><human>h</human><element>e</element></think><answer>a</answer>"),
            1.0);
  EXPECT_EQ(tags(nested, "<think><human>h</human></think><element>e</element><answer>a</answer>"),
            0.0);
  EXPECT_EQ(tags(nested + ", mode: strict",
                 "<think><human>h</human><element>e</element></think><answer>a</answer>"),
            0.0);
  EXPECT_EQ(tags(nested + ", mode: strict",
                 "<think><element>e</element><human>h</human></think><answer>a</answer>"),
            1.0);
}

TEST(Tags, GradedIsTheShareOfRightPairs) {
  EXPECT_EQ(tags("tags: [think, answer], graded: true", kReversed), 0.5);
  EXPECT_EQ(tags("tags: [a, b, c, d], graded: true", "<a>1</a><b>2</b><d>4</d>"), 0.75);
  EXPECT_EQ(tags("tags: [think, answer], nested: {think: [x, y]}, graded: true",
                 "<think><x>1</x></think><answer>2</answer>"),
            0.75);
  EXPECT_EQ(tags("tags: [think, answer], mode: strict, graded: true", "Hm " + kGood), 0.0);
}

TEST(Tags, RefusesWrongOptions) {
  EXPECT_EQ(config_error_of("{type: tags}"),
            "run.yaml:1: graph.tags: got both or neither of tags and pairs, want one of them");
  EXPECT_EQ(config_error_of("{type: tags, pairs: [[a]]}"),
            "run.yaml:1: graph.pairs: got [\"a\"], want [opening marker, closing marker]");
  EXPECT_EQ(config_error_of("{type: tags, tags: [a], nested: {b: [c]}}"),
            "run.yaml:1: graph.nested: got 'b', want one of `tags`");
}

}  // namespace
}  // namespace limbic::rewards
