#include "data/label_counts.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using test::message_of;
using test::TempFolder;

LabelCounts count(const std::string& rows, std::int64_t repeat = 1) {
  const TempFolder folder;
  DatasetConfig config;
  config.path = {folder.write("a.jsonl", rows)};
  config.repeat = repeat;
  const Dataset dataset = Dataset::load("a", config, 0);
  return count_labels(Mixture({&dataset}), "label");
}

TEST(LabelCounts, CountsValuesAndItemsOfLists) {
  EXPECT_EQ(count("{\"label\":\"joy\"}\n{\"label\":[\"joy\",\"fear\"]}\n{\"label\":3}\n"
                  "{\"label\":null}\n{\"x\":1}\n"),
            (LabelCounts{{"3", 1}, {"fear", 1}, {"joy", 2}}));
  EXPECT_EQ(count("{\"label\":\"joy\"}\n", 3), (LabelCounts{{"joy", 3}}));
  EXPECT_TRUE(count("{\"x\":1}\n").empty());
}

TEST(LabelCounts, RefusesAnObject) {
  EXPECT_NE(message_of<DataError>([] {
              count("{\"label\":{\"a\":1}}\n");
            }).find(":1: got an object in column 'label', want a label or a list of labels"),
            std::string::npos);
}

TEST(LabelCounts, WeighsEveryLabelAlike) {
  // 8 rows, 2 labels: 8 / (2 * 6) and 8 / (2 * 2), so 6 * 2/3 = 2 * 2.
  const auto weights = inverse_frequency_weights({{"a", 6}, {"b", 2}});
  EXPECT_DOUBLE_EQ(weights.at("a"), 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(weights.at("b"), 2.0);
}

}  // namespace
}  // namespace limbic::data
