// The two streams of CHORD: how much the experts weigh at a step, and the loss over their tokens.
// Source: arXiv:2508.11408. The paper's form: mu rises linearly from 0.02 to 0.5 over 200 steps and
// falls linearly to 0.02 over 400, losses are averaged over the tokens of a sample, then over
// samples. The authors' code: mu rises from 0, falls as a cosine, losses are averaged over tokens.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rl {

enum class MuSchedule { kLinear, kCosine };

struct MuConfig {
  double start = 0.02;
  double peak = 0.5;
  double valley = 0.02;
  std::int64_t warmup_steps = 200;
  std::int64_t decay_steps = 400;
  MuSchedule schedule = MuSchedule::kLinear;  // of the decay; the warm-up is linear
};
void describe(Fields& f, MuConfig& c);

// Weight of the expert loss after `step` optimizer steps; the policy loss weighs 1 - mu.
double mu_at(const MuConfig& config, std::int64_t step);

enum class ExpertAverage { kSample, kToken };

// Sums over the whole optimizer step.
struct ExpertTotals {
  double tokens = 0.0;
  double samples = 0.0;
};

// -phi log p over expert tokens [tokens], samples one behind the other with `lengths` targets each:
// a scalar that adds up over micro-batches and ranks. phi = p (1 - p), no gradient through it; 1
// without `phi`.
at::Tensor expert_loss(const at::Tensor& logprobs, const std::vector<std::int64_t>& lengths,
                       const ExpertTotals& totals, ExpertAverage average, bool phi);

}  // namespace limbic::rl
