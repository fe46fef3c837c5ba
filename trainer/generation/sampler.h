// Drawing one token from a row of logits. Pure and seeded per draw: what is sampled for a
// completion does not depend on the batch, the world size or the number of threads.
//
// Order of the filters as in transformers: temperature, then top-k, then top-p. As there, top-k
// keeps every token whose logit equals the k-th.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::generation {

struct SamplingConfig {
  double temperature = 1.0;  // 0 = greedy
  double top_p = 1.0;
  std::int64_t top_k = 0;  // 0 = off
};
void describe(Fields& f, SamplingConfig& c);

struct Draw {
  std::int32_t token = 0;
  float logprob = 0.0f;           // under the untempered, unfiltered distribution
  float sampling_logprob = 0.0f;  // under the distribution that was sampled; 0 when greedy
  float policy_logprob = 0.0f;    // under softmax(logits / temperature); logprob when greedy
};

// logits [rows, vocabulary] float32 or bfloat16 on the CPU; seeds [rows], one per draw.
// `banned` token ids are never drawn (their log-probability stays part of `logprob`'s normaliser).
// Throws DataError when a row holds NaN, std::logic_error when every token is banned.
std::vector<Draw> sample_rows(const at::Tensor& logits, const SamplingConfig& config,
                              std::span<const std::uint64_t> seeds,
                              std::span<const std::int32_t> banned);

}  // namespace limbic::generation
