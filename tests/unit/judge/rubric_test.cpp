#include "rewards/judge/rubric.h"

#include <gtest/gtest.h>

#include "tests/unit/judge/judging.h"

namespace limbic::rewards {
namespace {

std::string error_of(const std::string& yaml) {
  try {
    rubric_of(yaml);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

const std::string kAxis = "{name: a, question: 'Is it?'}";

TEST(Rubric, ItemsStandInTheOrderOfTheReply) {
  const Rubric rubric = mixed_rubric();
  ASSERT_EQ(rubric.items().size(), 4u);
  EXPECT_EQ(rubric.items()[0].name, "empathy");
  EXPECT_EQ(rubric.items()[0].weight, 3.0);
  EXPECT_EQ(rubric.items()[0].anchors.at(1).second, "warm");
  EXPECT_TRUE(rubric.items()[1].yes_is_good);
  EXPECT_FALSE(rubric.items()[2].yes_is_good);
  EXPECT_EQ(rubric.items()[3].kind, RubricItem::Kind::kVeto);
  EXPECT_EQ(rubric.items()[3].at_most, 0.25);
  EXPECT_EQ(rubric.lowest(), 1);
  EXPECT_EQ(rubric.highest(), 5);
}

TEST(Rubric, WhatIsWrongIsNamedWithItsLine) {
  EXPECT_EQ(error_of("axes: [" + kAxis + "]\n"),
            "rubric.yaml:1: about: got nothing, want what is judged");
  EXPECT_EQ(error_of("about: x\n"),
            "rubric.yaml:1: axes: got neither axes nor criteria, want at least one of them");
  EXPECT_EQ(error_of("about: x\nvetoes: [" + kAxis + "]\n"),
            "rubric.yaml:1: axes: got neither axes nor criteria, want at least one of them");
  EXPECT_EQ(error_of("about: x\naxes: [" + kAxis + "]\nscale: [5, 1]\n"),
            "rubric.yaml:3: scale: want [lowest, highest], two whole numbers of 0 to 100, the "
            "lower first");
  EXPECT_EQ(error_of("about: x\naxes: [" + kAxis + "]\nscale: [1, 2.5]\n"),
            "rubric.yaml:3: scale: got [1,2.5], want [lowest, highest]");
  EXPECT_EQ(error_of("about: x\naxes: [{name: a, question: q, anchors: {6: too high}}]\n"),
            "rubric.yaml:2: axes: got the anchor '6' of a, want a whole number of 1 to 5");
  EXPECT_EQ(error_of("about: x\naxes: [" + kAxis + "]\ncriteria: [" + kAxis + "]\n"),
            "rubric.yaml:2: axes: got the name 'a' twice, want one per item");
  EXPECT_EQ(error_of("about: x\naxes: [{name: a, question: q, weight: 0}]\n"),
            "rubric.yaml:2: axes: got weights that are all 0, want one above 0");
  EXPECT_EQ(error_of("about: x\naxes: [{name: a}]\n"),
            "rubric.yaml:2: axes.0.question: got nothing, want the question of the item");
}

TEST(Rubric, NamesAreSafeInRepliesAndMetrics) {
  for (const std::string name : {"ticket", "reasons", "A", "a b", "_a", "\"\""}) {
    EXPECT_NE(error_of("about: x\naxes: [{name: " + name + ", question: q}]\n")
                  .find("want lower-case letters, digits and _"),
              std::string::npos)
        << name;
  }
  EXPECT_EQ(error_of("about: x\naxes: [{name: a_2, question: q}]\n"), "no error");
}

TEST(Rubric, UnknownKeysAreRefused) {
  EXPECT_NE(error_of("about: x\naxes: [" + kAxis + "]\naxis: []\n").find("did you mean 'axes'?"),
            std::string::npos);
}

TEST(Rubric, TheHashCoversWhatReachesAJudgeOrWeighsItsAnswer) {
  const std::string base = "about: x\naxes: [{name: a, question: q}]\n";
  EXPECT_EQ(rubric_of(base).hash(), rubric_of(base).hash());
  for (const std::string other :
       {"about: y\naxes: [{name: a, question: q}]\n", "about: x\naxes: [{name: a, question: r}]\n",
        "about: x\naxes: [{name: a, question: q, weight: 2}]\n",
        "about: x\naxes: [{name: a, question: q, anchors: {1: low}}]\n",
        "about: x\naxes: [{name: a, question: q}]\nscale: [1, 3]\n",
        "about: x\naxes: [{name: a, question: q}]\nprompt: other\n"}) {
    EXPECT_NE(rubric_of(base).hash(), rubric_of(other).hash()) << other;
  }
}

TEST(Rubric, ThreeAreBuiltIn) {
  const Rubric kardia = Rubric::load("kardia");
  ASSERT_EQ(kardia.items().size(), 5u);
  const char* axes[] = {"relevance", "fluency", "empathy", "persona_consistency", "safety"};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(kardia.items()[i].name, axes[i]);
    EXPECT_EQ(kardia.items()[i].anchors.size(), 5u);
  }
  EXPECT_EQ(Rubric::load("emobserver").items().size(), 4u);
  EXPECT_EQ(Rubric::load("mentra").items().size(), 5u);
}

TEST(Rubric, TheBuiltInOnesAreThoseOfTheRepository) {
  for (const std::string& name : Rubric::builtin_names()) {
    const std::string file = LIMBIC_SOURCE_DIR "/configs/rubrics/" + name + ".yaml";
    EXPECT_EQ(Rubric::load(name).hash(), Rubric::load(file).hash()) << name;
    EXPECT_NO_THROW(JudgePrompt(Rubric::load(name), name));
  }
}

}  // namespace
}  // namespace limbic::rewards
