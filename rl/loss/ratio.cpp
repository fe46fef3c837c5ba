#include "rl/loss/ratio.h"

#include <fmt/format.h>

#include <limits>

#include "trainer/base/error.h"

namespace limbic::rl {
namespace {

enum class Mode { kTokenTruncate, kTokenMask, kSequenceTruncate, kSequenceMask };

Mode mode_of(const CorrectionConfig& c) {
  if (c.level == Level::kToken) return c.mask ? Mode::kTokenMask : Mode::kTokenTruncate;
  return c.mask ? Mode::kSequenceMask : Mode::kSequenceTruncate;
}

}  // namespace

Completions::Completions(const std::vector<std::int64_t>& lengths, const at::Tensor& like) {
  const at::Tensor counts = at::tensor(lengths, at::kLong).to(like.device());
  index_ = at::arange(counts.size(0), counts.options()).repeat_interleave(counts);
  lengths_ = counts.to(like.scalar_type());
}

at::Tensor Completions::sum(const at::Tensor& tokens) const {
  return at::zeros({count()}, tokens.options()).index_add(0, index_, tokens);
}

at::Tensor Completions::spread(const at::Tensor& each) const {
  return each.index_select(0, index_);
}

at::Tensor importance_ratio(const at::Tensor& log_ratio, const Completions& completions,
                            Level level) {
  if (level == Level::kToken) return log_ratio.exp();
  return completions.spread((completions.sum(log_ratio) / completions.lengths()).exp());
}

at::Tensor completion_ratio(const at::Tensor& log_ratio, const Completions& completions) {
  return completions.spread(completions.sum(log_ratio).exp());
}

void describe(Fields& f, CorrectionConfig& c) {
  f.field("vllm_importance_sampling_correction", c.enabled,
          "weight the policy's loss with the ratio of its own probability and the one that the "
          "token was drawn with (after temperature, top_k and top_p); TRL's name. Off by default: "
          "limbic draws from the very weights that it trains");
  Mode mode = mode_of(c);
  f.choice("vllm_importance_sampling_mode", mode,
           {{Mode::kTokenTruncate, "token_truncate"},
            {Mode::kTokenMask, "token_mask"},
            {Mode::kSequenceTruncate, "sequence_truncate"},
            {Mode::kSequenceMask, "sequence_mask"}},
           "ratios of tokens or of whole completions; out of bounds they are set to the bound or "
           "to 0");
  c.level =
      mode == Mode::kTokenTruncate || mode == Mode::kTokenMask ? Level::kToken : Level::kSequence;
  c.mask = mode == Mode::kTokenMask || mode == Mode::kSequenceMask;
  f.field("vllm_importance_sampling_clip_max", c.clip_max,
          "upper bound of the correction; null = none", Bounds::positive());
  f.field("vllm_importance_sampling_clip_min", c.clip_min,
          "lower bound of the correction; null = none", Bounds::at_least(0.0));
  if (f.reading() && c.clip_min && c.clip_max && *c.clip_min >= *c.clip_max) {
    f.fail("vllm_importance_sampling_clip_min",
           fmt::format("got {}, want less than vllm_importance_sampling_clip_max {}", *c.clip_min,
                       *c.clip_max));
  }
}

at::Tensor correction_weights(const at::Tensor& logprobs, const at::Tensor& sampling_logprobs,
                              const Completions& completions, const CorrectionConfig& config) {
  const at::Tensor difference = logprobs.detach() - sampling_logprobs;
  const at::Tensor ratio = config.level == Level::kToken
                               ? difference.exp()
                               : completions.spread(completions.sum(difference).exp());
  const double infinity = std::numeric_limits<double>::infinity();
  const double low = config.clip_min.value_or(0.0);
  const double high = config.clip_max.value_or(infinity);
  if (!config.mask) return ratio.clamp(low, high);
  return ratio.masked_fill((ratio < low).logical_or(ratio > high), 0.0);
}

}  // namespace limbic::rl
