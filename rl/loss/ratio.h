// Ratios of probabilities over packed completion tokens, and the correction for completions that
// were drawn from another distribution than the policy's. Pure: tensors in, tensors out.
// Sources: arXiv:2402.03300 (token ratios), arXiv:2507.18071 (GSPO: one ratio per sequence); names
// of the correction as in TRL's `vllm_importance_sampling_*`.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rl {

// Which tokens belong together: completions one behind the other.
class Completions {
 public:
  // lengths [completions], each at least 1. `like` gives the float type.
  Completions(const std::vector<std::int64_t>& lengths, const at::Tensor& like);

  std::int64_t count() const { return lengths_.size(0); }
  const at::Tensor& lengths() const { return lengths_; }  // [completions]
  at::Tensor sum(const at::Tensor& tokens) const;         // [tokens] -> [completions]
  at::Tensor spread(const at::Tensor& each) const;        // [completions] -> [tokens]

 private:
  at::Tensor index_;    // [tokens] int64, the completion of each
  at::Tensor lengths_;  // [completions]
};

enum class Level { kToken, kSequence };

// exp(log_ratio), or the exponential of its mean over the completion on each of its tokens.
at::Tensor importance_ratio(const at::Tensor& log_ratio, const Completions& completions,
                            Level level);

// The ratio of the whole completion, exp of the sum, on each of its tokens (RLOO).
at::Tensor completion_ratio(const at::Tensor& log_ratio, const Completions& completions);

struct CorrectionConfig {
  bool enabled = false;
  Level level = Level::kToken;
  bool mask = false;  // ratios out of bounds become 0 instead of the bound
  std::optional<double> clip_min;
  std::optional<double> clip_max = 3.0;
};
void describe(Fields& f, CorrectionConfig& c);

// Weights [tokens] of the policy's loss: exp(log p - log q) with p the policy that sampled as it
// scores itself, q what was really drawn from; of the sequence: the exponential of the sum.
at::Tensor correction_weights(const at::Tensor& logprobs, const at::Tensor& sampling_logprobs,
                              const Completions& completions, const CorrectionConfig& config);

}  // namespace limbic::rl
