#include "data/packing.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"
#include "trainer/base/fields.h"
#include "trainer/base/file.h"

namespace limbic::data {
namespace {

using test::message_of;

using Lengths = std::vector<std::int64_t>;

TEST(Packing, PutsEachDocumentWhereTheLeastRoomIsEnough) {
  // Sorted: 7 (0), 6 (3), 4 (1), 3 (4), 3 (5), 2 (2). Room of 10: {7}3; {6}4; 4 fits the second
  // exactly; 3 fits the first exactly; 3 opens a third; 2 joins it.
  EXPECT_EQ(best_fit_decreasing(Lengths{7, 4, 2, 6, 3, 3}, 10), (Groups{{0, 4}, {3, 1}, {5, 2}}));
}

TEST(Packing, TakesTheGroupThatCameToItsRoomFirst) {
  // {8}2, {8}2: the first 2 goes to the older group, the second to the other, the 1 opens a third.
  EXPECT_EQ(best_fit_decreasing(Lengths{8, 8, 2, 2, 1}, 10), (Groups{{0, 2}, {1, 3}, {4}}));
  // {15}5, {11}9, {11,7}2, {15,3}2: the 2 goes to the second group, which had room 2 first.
  EXPECT_EQ(best_fit_decreasing(Lengths{15, 11, 7, 3, 2}, 20), (Groups{{0, 3}, {1, 2, 4}}));
}

TEST(Packing, MakesTheGroupsThatTrlMakes) {
  const Json cases =
      Json::parse(read_file(LIMBIC_SOURCE_DIR "/tests/unit/data/golden/packing.json"));
  ASSERT_EQ(cases.size(), 5u);
  for (const Json& item : cases) {
    const auto lengths = item["lengths"].get<Lengths>();
    EXPECT_EQ(best_fit_decreasing(lengths, item["max_tokens"].get<std::int64_t>()),
              item["groups"].get<Groups>())
        << item["max_tokens"];
  }
}

TEST(Packing, NeverMixesWindows) {
  EXPECT_EQ(best_fit_decreasing(Lengths{3, 4, 3, 4}, 10, 2), (Groups{{1, 0}, {3, 2}}));
  EXPECT_EQ(best_fit_decreasing(Lengths{3, 4, 3, 4}, 14, 4), (Groups{{1, 3, 0, 2}}));
}

TEST(Packing, WantsDocumentsThatFit) {
  EXPECT_THROW(best_fit_decreasing(Lengths{11}, 10), std::logic_error);
  EXPECT_THROW(best_fit_decreasing(Lengths{0}, 10), std::logic_error);
  EXPECT_TRUE(best_fit_decreasing(Lengths{}, 10).empty());
}

TEST(SplitByTokens, KeepsTheOrderAndBothLimits) {
  const Lengths lengths{4, 4, 3, 9, 1, 1, 1};
  EXPECT_EQ(split_by_tokens(lengths, 10), (Groups{{0, 1}, {2}, {3, 4}, {5, 6}}));
  EXPECT_EQ(split_by_tokens(lengths, 10, 1), (Groups{{0}, {1}, {2}, {3}, {4}, {5}, {6}}));
  EXPECT_EQ(split_by_tokens(lengths, 0, 3), (Groups{{0, 1, 2}, {3, 4, 5}, {6}}));
  EXPECT_EQ(split_by_tokens(lengths, 0, 0), (Groups{{0, 1, 2, 3, 4, 5, 6}}));
  EXPECT_TRUE(split_by_tokens(Lengths{}, 10).empty());
}

TEST(SplitByTokens, NamesARowThatIsTooLong) {
  EXPECT_EQ(message_of<ConfigError>([] {
              split_by_tokens(Lengths{3, 12}, 10);
            }),
            "max_tokens_per_batch: got 10 and a row of 12 tokens, want room for it");
}

}  // namespace
}  // namespace limbic::data
