#include "rewards/aliases.h"

#include <gtest/gtest.h>

#include "rewards/builtin_tables.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::rewards {
namespace {

std::string error_of(const Json& option) {
  try {
    Aliases::parse(option, {}, "w");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Aliases, MapsWordsToTheirLabel) {
  const Aliases aliases =
      Aliases::parse({{"Joy", {"happy", "Glad!"}}, {"fear", "afraid"}}, {}, "w");
  EXPECT_EQ(aliases.canonical(" HAPPY. "), "joy");
  EXPECT_EQ(aliases.canonical("glad"), "joy");
  EXPECT_EQ(aliases.canonical("Joy"), "joy");
  EXPECT_EQ(aliases.canonical("Afraid"), "fear");
  EXPECT_EQ(aliases.canonical("Boredom!"), "boredom");
  EXPECT_EQ(aliases.labels(), (std::set<std::string>{"fear", "joy"}));
}

TEST(Aliases, RefusesAWordUnderTwoLabels) {
  EXPECT_EQ(error_of({{"joy", {"wow"}}, {"surprise", {"Wow!"}}}),
            "w: got 'wow' under joy and under surprise, want it under one label");
}

TEST(Aliases, RefusesAMissingFileAndWrongShapes) {
  EXPECT_EQ(error_of("no/such.yaml"), "w: got 'no/such.yaml', want a readable file");
  EXPECT_EQ(error_of(7), "w: got 7, want a file or `label: [words]`");
}

TEST(Aliases, TheShippedFilesAreTheBuiltInTables) {
  const std::string folder = std::string(LIMBIC_SOURCE_DIR) + "/configs/labels/";
  EXPECT_EQ(read_file(folder + "ekman.yaml"), builtin_ekman());
  EXPECT_EQ(read_file(folder + "au_emotion.yaml"), builtin_au_emotion());
}

TEST(Aliases, ReadsTheShippedLabels) {
  const Aliases aliases =
      Aliases::parse(std::string(LIMBIC_SOURCE_DIR) + "/configs/labels/ekman.yaml", {}, "w");
  EXPECT_EQ(aliases.labels(), (std::set<std::string>{"anger", "disgust", "fear", "joy", "neutral",
                                                     "sadness", "surprise"}));
  EXPECT_EQ(aliases.canonical("Happy"), "joy");
  EXPECT_EQ(Aliases::parse("ekman", {}, "w").canonical("scared"), "fear");
}

TEST(ActionUnits, AreNumbersHoweverSpelled) {
  EXPECT_EQ(action_unit("AU6"), 6);
  EXPECT_EQ(action_unit("au 06"), 6);
  EXPECT_EQ(action_unit("AU12c"), 12);
  EXPECT_EQ(action_unit("AU"), std::nullopt);
  EXPECT_EQ(action_unit("AUX1"), std::nullopt);
}

TEST(ActionUnits, NoShippedEmotionContradictsItself) {
  const auto table = load_action_units("", Aliases::parse("ekman", {}, "w"), "w");
  EXPECT_EQ(table.at("joy").typical, (std::set<int>{6, 7, 12, 25, 26}));
  for (const auto& [emotion, units] : table) {
    for (const int unit : units.contradicts) EXPECT_FALSE(units.typical.contains(unit)) << emotion;
  }
}

}  // namespace
}  // namespace limbic::rewards
