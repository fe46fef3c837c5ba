#include "data/batch.h"

#include <gtest/gtest.h>

namespace limbic::data {
namespace {

TEST(Batch, JoinsDocumentsWithoutPadding) {
  const std::vector<Example> examples{
      {{5, 6, 7}, {0, 1, 1}, 0}, {{8}, {0}, 1}, {{9, 2}, {0, 1}, 2}};
  const PackedBatch batch = concat(examples);
  EXPECT_EQ(batch.tokens, (std::vector<std::int32_t>{5, 6, 7, 8, 9, 2}));
  EXPECT_EQ(batch.positions, (std::vector<std::int32_t>{0, 1, 2, 0, 0, 1}));
  EXPECT_EQ(batch.offsets, (std::vector<std::int32_t>{0, 3, 4, 6}));
  EXPECT_EQ(batch.loss_mask, (std::vector<std::uint8_t>{0, 1, 1, 0, 0, 1}));
  EXPECT_EQ(batch.loss_tokens, 3);
  EXPECT_EQ(batch.documents(), 3);
  EXPECT_TRUE(batch.weights.empty());
}

TEST(Batch, HoldsNothingWhenThereIsNothing) {
  const PackedBatch batch = concat({});
  EXPECT_EQ(batch.offsets, std::vector<std::int32_t>{0});
  EXPECT_EQ(batch.documents(), 0);
  EXPECT_EQ(PackedBatch{}.documents(), 0);
}

TEST(Batch, RefusesBrokenExamples) {
  const auto join = [](Example example) { return concat(std::span<const Example>(&example, 1)); };
  EXPECT_THROW(join({{}, {}, 0}), std::logic_error);
  EXPECT_THROW(join({{1, 2}, {0}, 0}), std::logic_error);
  EXPECT_THROW(join({{1, 2}, {1, 1}, 0}), std::logic_error);
}

}  // namespace
}  // namespace limbic::data
