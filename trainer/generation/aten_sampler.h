// `sample_rows` as ATen formulas, for logits on any device: the draws of a whole batch, and one way
// back to the CPU. The same seed draws the same token on every device, but for rounding of the
// logits' exponentials.
#pragma once

#include "trainer/generation/sampler.h"

namespace limbic::generation {

// Contract of `sample_rows`; the logits may lie on any device.
std::vector<Draw> sample_rows_with_aten(const at::Tensor& logits, const SamplingConfig& config,
                                        std::span<const std::uint64_t> seeds,
                                        std::span<const std::int32_t> banned);

}  // namespace limbic::generation
