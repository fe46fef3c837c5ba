// The layout of rows by hand, and what decoding keeps of it.
#include "trainer/model/aten/padded_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace limbic::model {
namespace {

using testing::ElementsAre;

std::vector<std::int64_t> list(const at::Tensor& tensor) {
  return {tensor.data_ptr<std::int64_t>(), tensor.data_ptr<std::int64_t>() + tensor.numel()};
}

// A document of 3 tokens, one of 1, and a prompt of 2 with completions of 2 and 1.
std::shared_ptr<const PaddedRows> example_rows() {
  return pad_rows({0, 3, 4, 6, 8, 9}, {0, 1, 2, 5}, at::kCPU);
}

TEST(PaddedRows, LongRowsFirstThenThoseBelowHalf) {
  const auto rows = example_rows();
  ASSERT_EQ(rows->batches.size(), 2u);
  EXPECT_EQ(rows->batches[0].rows, 3);
  EXPECT_EQ(rows->batches[0].length, 4);
  EXPECT_EQ(rows->batches[1].rows, 1);
  EXPECT_EQ(rows->batches[1].length, 1);
  EXPECT_THAT(rows->sizes(), ElementsAre(12, 1));
  EXPECT_THAT(list(rows->token), ElementsAre(4, 5, 6, 7,  // the prompt and its first completion
                                             0, 1, 2, 2,  // padded with its last token
                                             4, 5, 8, 8,  // the prompt again
                                             3));
  EXPECT_THAT(list(rows->cell), ElementsAre(4, 5, 6, 12, 0, 1, 2, 3, 10));
  EXPECT_THAT(list(rows->giver), ElementsAre(4, 5, 6, 7, 0, 1, 2, 9, 9, 9, 8, 9, 3));
  EXPECT_THAT(list(rows->giver), ElementsAre(4, 5, 6, 7, 0, 1, 2, 9, 9, 9, 8, 9, 3));
  EXPECT_THAT(list(rows->copied_cell), ElementsAre(8, 9));
  EXPECT_THAT(list(rows->copied_token), ElementsAre(4, 5));
}

TEST(PaddedRows, WithoutFamiliesEverySequenceIsARow) {
  const auto rows = pad_rows({0, 2, 7}, {}, at::kCPU);
  ASSERT_EQ(rows->batches.size(), 2u);
  EXPECT_THAT(list(rows->token), ElementsAre(2, 3, 4, 5, 6, 0, 1));
  EXPECT_EQ(rows->copied_cell.numel(), 0);
}

TEST(PaddedRows, CollectUndoesSpread) {
  const auto rows = example_rows();
  const at::Tensor x = at::arange(18, at::kFloat).view({9, 2});
  const at::Tensor cells = spread(x, rows);
  EXPECT_EQ(cells.size(0), 13);
  EXPECT_TRUE(at::equal(collect(cells, rows), x));
}

// Every cell that holds a token passes its gradient on, padding does not.
TEST(PaddedRows, GradientsGoToTheTokensOfTheirCells) {
  const auto rows = example_rows();
  const at::Tensor x = at::zeros({9}).requires_grad_();
  const at::Tensor weights = at::arange(1, 14, at::kFloat);
  (spread(x, rows) * weights).sum().backward();
  // Token 4 is in cells 0 and 8, token 5 in 1 and 9; cells 7 and 11 are padding.
  EXPECT_TRUE(at::equal(x.grad(), at::tensor({5.f, 6.f, 7.f, 13.f, 10.f, 12.f, 3.f, 4.f, 11.f})));
  const at::Tensor y = at::zeros({13}).requires_grad_();
  (collect(y, rows) * at::arange(1, 10, at::kFloat)).sum().backward();
  EXPECT_TRUE(at::equal(
      y.grad(), at::tensor({5.f, 6.f, 7.f, 8.f, 1.f, 2.f, 3.f, 0.f, 0.f, 0.f, 9.f, 0.f, 4.f})));
}

PackedTokens prompts() {
  const auto type = at::TensorOptions().dtype(at::kInt);
  return {.tokens = at::tensor({5, 1, 60, 3, 3, 8}, type),
          .positions = at::tensor({0, 1, 2, 3, 0, 1}, type),
          .offsets = {0, 4, 6}};
}

// Sequences end in an order that empties rows and columns of the grid.
TEST(PaddedDecode, TheGridShrinksWithTheBatchAndTheNumbersStay) {
  const Decoder kernels = tiny_model();
  Decoder aten(ModelConfig::parse(tiny_config(), "tiny"), at::kFloat, at::kCPU, Math::kAten);
  initialize_weights(aten, 5, WeightUse::kFrozen);
  KeyValueCache want(4, 8), got(4, 8);
  const at::Tensor start = aten.prefill(prompts(), {}, got);
  EXPECT_TRUE(at::allclose(start, kernels.prefill(prompts(), {}, want), 1e-5, 1e-5));
  EXPECT_EQ(got.padded.prompts, 2);
  EXPECT_EQ(got.padded.places, 4);
  struct Round {
    std::vector<std::int64_t> slots;
    std::int64_t prompts, places;
  };
  for (const Round& round : {Round{{0, 1, 2, 3, 4, 5, 6, 7}, 2, 4},
                             Round{{0, 2, 3, 4, 7}, 2, 4},  // 2 x 3 cells are not half of 2 x 4
                             Round{{2, 3, 7}, 2, 2}, Round{{2, 7}, 2, 1}, Round{{7}, 1, 1}}) {
    want.keep(round.slots);
    got.keep(round.slots);
    std::vector<std::int32_t> tokens;
    for (const std::int64_t slot : round.slots) {
      tokens.push_back(static_cast<std::int32_t>((slot * 13 + 7) % 61));
    }
    const at::Tensor next = at::tensor(tokens, at::kInt);
    EXPECT_TRUE(
        at::allclose(aten.decode(next, {}, got), kernels.decode(next, {}, want), 1e-5, 1e-5))
        << round.slots.size();
    EXPECT_EQ(got.padded.prompts, round.prompts) << round.slots.size();
    EXPECT_EQ(got.padded.places, round.places) << round.slots.size();
  }
}

TEST(PaddedDecode, BeyondTheCapacityIsABug) {
  Decoder aten(ModelConfig::parse(tiny_config(), "tiny"), at::kFloat, at::kCPU, Math::kAten);
  initialize_weights(aten, 5, WeightUse::kFrozen);
  KeyValueCache cache(1, 1);
  aten.prefill(prompts(), {}, cache);
  const at::Tensor next = at::tensor({1, 2}, at::kInt);
  aten.decode(next, {}, cache);
  EXPECT_THROW(aten.decode(next, {}, cache), std::logic_error);
}

}  // namespace
}  // namespace limbic::model
