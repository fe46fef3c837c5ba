#include "launch/model/model_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace limbic::launch {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(ModelCard, NamesBaseDataSettingsAndRewards) {
  const std::string text = card_text({.base = "models/Base/",
                                      .adapter = true,
                                      .steps = {{"one (sft), 4 steps", {{"train", "abc"}}},
                                                {"two (grpo), 9 steps", {{"more", "def"}}}},
                                      .config = "123",
                                      .rewards = {"label, weight 0.5"}});
  EXPECT_THAT(text, StartsWith("---\nbase_model: Base\nlibrary_name: peft\n"));
  for (const char* row : {"| base | models/Base/ |", "| step 1 | one (sft), 4 steps |",
                          "| step 1 data | train `abc` |", "| step 2 data | more `def` |",
                          "| config | `123` |", "| reward | label, weight 0.5 |"}) {
    EXPECT_THAT(text, HasSubstr(row));
  }
}

TEST(ModelCard, TakesInTheCardOfAMergedAdapter) {
  const std::string adapter = card_text(
      {.base = "Base", .adapter = true, .steps = {{"sft", {}}}, .config = "9", .rewards = {}});
  const std::string text = card_text({.base = "Base",
                                      .steps = {{"merged", {}}},
                                      .config = "",
                                      .rewards = {},
                                      .of_adapter = adapter});
  EXPECT_THAT(text, HasSubstr("library_name: transformers"));
  EXPECT_THAT(text, HasSubstr("| config | `9` |"));
  EXPECT_THAT(text, Not(HasSubstr("library_name: peft")));
  EXPECT_THAT(card_text({.base = "B",
                         .steps = {},
                         .config = "",
                         .rewards = {},
                         .of_adapter = "---\nnever closed"}),
              HasSubstr("never closed"));
}

}  // namespace
}  // namespace limbic::launch
