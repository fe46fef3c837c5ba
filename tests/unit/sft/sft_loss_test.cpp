#include "trainer/sft/sft_loss.h"

#include <gtest/gtest.h>

namespace limbic::sft {
namespace {

// Logits are hidden x identity: hidden rows are the logits themselves.
TEST(SftLoss, SmoothingIsThatOfCrossEntropy) {
  const at::Tensor logits = at::tensor({1.0f, -2.0f, 0.5f, 3.0f, 0.0f, 0.0f, 1.0f, -1.0f});
  const at::Tensor targets = at::tensor({3, 0}, at::TensorOptions().dtype(at::kInt));
  for (const double smoothing : {0.0, 0.1, 0.9}) {
    const at::Tensor mine = logits.view({2, 4}).clone().requires_grad_();
    const at::Tensor want = logits.view({2, 4}).clone().requires_grad_();
    const at::Tensor loss =
        sft_loss(model::token_logprobs(mine, at::eye(4), {}, targets, {.mean_logprobs = true}), 2.0,
                 smoothing);
    const at::Tensor reference = at::cross_entropy_loss(want, targets.to(at::kLong), {},
                                                        at::Reduction::Mean, -100, smoothing);
    EXPECT_NEAR(loss.item<double>(), reference.item<double>(), 1e-6) << smoothing;
    loss.backward();
    reference.backward();
    EXPECT_TRUE(at::allclose(mine.grad(), want.grad(), 1e-5, 1e-7)) << smoothing;
  }
}

// Over the targets of the step, not of the micro-batch.
TEST(SftLoss, DividesByTheTargetsOfTheStep) {
  model::TokenScores scores;
  scores.logprobs = at::tensor({-1.0f, -3.0f});
  EXPECT_NEAR(sft_loss(scores, 8.0, 0.0).item<double>(), 0.5, 1e-7);
}

}  // namespace
}  // namespace limbic::sft
