// What is minimised for a token: the ratio times its advantage, kept from going too far.
// Sources: arXiv:2402.03300 (clip), arXiv:2505.07291 (`delta`), arXiv:2506.13585 (cispo),
// arXiv:2511.20347 (sapo).
#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "trainer/base/fields.h"

namespace limbic::rl {

enum class SurrogateKind {
  kClip,      // -min(r A, clamp(r, 1 - epsilon, 1 + epsilon_high) A), r at most delta on the left
  kCispo,     // -min(r, epsilon_high) A log p, no gradient through the ratio
  kSoftGate,  // -sigmoid(t (r - 1)) 4 / t A, t by the sign of A
};

struct SurrogateConfig {
  double epsilon = 0.2;
  std::optional<double> epsilon_high;  // not set = epsilon
  std::optional<double> delta;         // bounds the ratio where the advantage is negative
  double temperature_neg = 1.05;
  double temperature_pos = 1.0;
};
// Checks what holds whatever the kind.
void describe(Fields& f, SurrogateConfig& c);

struct Surrogate {
  at::Tensor loss;       // [tokens]
  at::Tensor clip_low;   // [tokens] bool: held below (ratio < 1 - epsilon, advantage < 0)
  at::Tensor clip_high;  // [tokens] bool: held above
};
// ratio, logprobs differentiable; all [tokens].
Surrogate surrogate(const at::Tensor& ratio, const at::Tensor& logprobs,
                    const at::Tensor& advantages, SurrogateKind kind,
                    const SurrogateConfig& config);

}  // namespace limbic::rl
