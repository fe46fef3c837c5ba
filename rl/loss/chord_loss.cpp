#include "rl/loss/chord_loss.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "rl/loss/ratio.h"

namespace limbic::rl {

void describe(Fields& f, MuConfig& c) {
  const Bounds share = Bounds::between(0.0, 1.0);
  f.field("mu_start", c.start, "weight of the expert loss before the first step", share);
  f.field("mu_peak", c.peak, "weight of the expert loss after the warm-up", share);
  f.field("mu_valley", c.valley, "weight of the expert loss after the decay", share);
  f.field("mu_warmup_steps", c.warmup_steps, "steps from mu_start to mu_peak", Bounds::at_least(0));
  f.field("mu_decay_steps", c.decay_steps, "steps from mu_peak to mu_valley", Bounds::at_least(0));
  f.choice("mu_schedule", c.schedule,
           {{MuSchedule::kLinear, "linear"}, {MuSchedule::kCosine, "cosine"}},
           "shape of the decay; the paper says linear, its code cosine with mu_start 0");
}

double mu_at(const MuConfig& config, std::int64_t step) {
  const auto share = [](std::int64_t done, std::int64_t steps) {
    return static_cast<double>(done) / static_cast<double>(steps);
  };
  if (step < config.warmup_steps) {
    return std::lerp(config.start, config.peak, share(step, config.warmup_steps));
  }
  const std::int64_t decayed = step - config.warmup_steps;
  if (decayed >= config.decay_steps) return config.valley;
  const double way = share(decayed, config.decay_steps);
  const double fallen =
      config.schedule == MuSchedule::kLinear ? way : 0.5 * (1.0 - std::cos(std::numbers::pi * way));
  return std::lerp(config.peak, config.valley, fallen);
}

at::Tensor expert_loss(const at::Tensor& logprobs, const std::vector<std::int64_t>& lengths,
                       const ExpertTotals& totals, ExpertAverage average, bool phi) {
  const Completions samples(lengths, logprobs);
  at::Tensor loss = -logprobs;
  if (phi) {
    const at::Tensor p = logprobs.detach().exp();
    loss = loss * (p * (1 - p));
  }
  if (average == ExpertAverage::kToken) return loss.sum() / totals.tokens;
  return (samples.sum(loss) / samples.lengths()).sum() / totals.samples;
}

}  // namespace limbic::rl
