// The loss of supervised fine-tuning over the targets of one micro-batch. Pure.
// Source: arXiv:1512.00567 (label smoothing), as torch's cross_entropy defines it.
#pragma once

#include <ATen/ATen.h>

#include "trainer/model/ops.h"

namespace limbic::sft {

// Mean over the step of -(1 - smoothing) log p(target) - smoothing mean_v log p(v), v over the
// vocabulary: a scalar that adds up over micro-batches and ranks. `targets` are those of the whole
// step. Requires: scores with mean_logprobs when smoothing is above 0.
at::Tensor sft_loss(const model::TokenScores& scores, double targets, double smoothing);

}  // namespace limbic::sft
