#include "trainer/generation/aten_sampler.h"

#include <cmath>

#include "trainer/base/error.h"
#include "trainer/base/seed.h"

namespace limbic::generation {
namespace {

// Weights are whole numbers, the most likely token's is this. Sums of them are exact, so they do
// not depend on the order in which a device adds; a vocabulary of millions stays below 2^63.
constexpr double kUnit = 1LL << 40;
constexpr std::int64_t kChunkElements = std::int64_t{1} << 25;  // bounds the memory in between

at::Tensor on(const at::Tensor& like, const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).to(like.device());
}

// Weights and tokens in the order in which they are drawn, and what is to be drawn from.
struct Candidates {
  at::Tensor sums;    // [rows, vocabulary] int64, running sums of the weights
  at::Tensor tokens;  // [rows, vocabulary] int64; undefined = in the order of the vocabulary
  at::Tensor total;   // [rows, 1] int64, of the kept ones
};

// Keeps the most likely tokens, as `sampler.h` says.
Candidates filter(const SamplingConfig& config, const at::Tensor& rows, const at::Tensor& weights) {
  const auto [sorted, tokens] = rows.sort(true, -1, true);
  at::Tensor kept = weights.gather(1, tokens);
  if (config.top_k > 0 && config.top_k < rows.size(1)) {
    kept.masked_fill_(sorted.lt(sorted.slice(1, config.top_k - 1, config.top_k)), 0);
  }
  Candidates out{kept.cumsum(1), tokens, {}};
  out.total = out.sums.slice(1, -1);
  if (config.top_p < 1.0) {
    // A token stays while those before it have less than the mass.
    const at::Tensor before = (out.sums - kept).to(at::kDouble);
    const at::Tensor stays = before.lt(out.total.to(at::kDouble) * config.top_p);
    out.total = kept.mul_(stays).sum(1, true);
  }
  return out;
}

// [rows, 4] float64 on the CPU: token, logprob, sampling_logprob, policy_logprob. Not a number in
// any place of `logits` makes logprob so; a row of banned tokens has the logprob of -infinity.
at::Tensor draw(const at::Tensor& logits, const SamplingConfig& config,
                std::span<const std::uint64_t> seeds, std::span<const std::int32_t> banned) {
  at::Tensor rows = logits.to(at::kFloat);
  const at::Tensor log_sum = rows.logsumexp(1, true);
  if (!banned.empty()) {
    const at::Tensor ids = at::tensor(std::vector<std::int64_t>(banned.begin(), banned.end()));
    rows = rows.index_fill(1, ids.to(rows.device()), -INFINITY);
  }
  const at::Tensor best = std::get<0>(rows.max(1, true));
  at::Tensor token, sampling, policy;
  if (config.temperature == 0.0) {
    token = rows.argmax(1, true);
    sampling = at::zeros_like(log_sum);
  } else {
    const at::Tensor exponentials = ((rows - best) * (1.0 / config.temperature)).exp_();
    const at::Tensor weights = (exponentials.to(at::kDouble) * kUnit).to(at::kLong);
    const bool filtered = config.top_k > 0 || config.top_p < 1.0;
    Candidates from =
        filtered ? filter(config, rows, weights) : Candidates{weights.cumsum(1), {}, {}};
    if (!filtered) from.total = from.sums.slice(1, -1);
    std::vector<double> uniform;
    for (const std::uint64_t seed : seeds) uniform.push_back(Random(seed).uniform());
    const at::Tensor total = from.total.to(at::kDouble);
    // Rounding must not lift it to the total, behind the last token.
    const at::Tensor point =
        at::minimum((on(rows, uniform).unsqueeze(1) * total).to(at::kLong), from.total - 1);
    // The first token whose running sum lies above the point.
    const at::Tensor place = at::searchsorted(from.sums, point, false, true);
    const at::Tensor within = place.clamp_max(rows.size(1) - 1);  // a row that is not a number
    token = from.tokens.defined() ? from.tokens.gather(1, within) : within;
    const at::Tensor drawn = exponentials.gather(1, token).to(at::kDouble);
    sampling = (drawn * kUnit / total).log();
    policy = (drawn / exponentials.sum(1, true, at::kDouble)).log();
  }
  const at::Tensor logprob = (rows.gather(1, token) - log_sum).to(at::kDouble);
  return at::cat({token.to(at::kDouble), logprob, sampling.to(at::kDouble),
                  policy.defined() ? policy : logprob},
                 1)
      .cpu();
}

}  // namespace

std::vector<Draw> sample_rows_with_aten(const at::Tensor& logits, const SamplingConfig& config,
                                        std::span<const std::uint64_t> seeds,
                                        std::span<const std::int32_t> banned) {
  const at::NoGradGuard no_grad;
  check(static_cast<std::int64_t>(seeds.size()) == logits.size(0), "one seed per row");
  const std::int64_t chunk = std::max<std::int64_t>(1, kChunkElements / logits.size(1));
  std::vector<Draw> draws;
  for (const at::Tensor& rows : logits.split(chunk)) {
    const at::Tensor out = draw(
        rows, config, seeds.subspan(draws.size(), static_cast<std::size_t>(rows.size(0))), banned);
    const auto values = out.accessor<double, 2>();
    for (std::int64_t row = 0; row < out.size(0); ++row) {
      const double logprob = values[row][1];
      if (std::isnan(logprob))
        throw DataError("generation: got logits that are not finite; are the weights damaged?");
      check(logprob > -INFINITY, "every token is banned");
      draws.push_back({static_cast<std::int32_t>(values[row][0]), static_cast<float>(logprob),
                       static_cast<float>(values[row][2]), static_cast<float>(values[row][3])});
    }
  }
  return draws;
}

}  // namespace limbic::generation
