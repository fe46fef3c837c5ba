#include "trainer/generation/sampler.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <cmath>
#include <numeric>

#include "trainer/base/error.h"
#include "trainer/base/seed.h"
#include "trainer/tensor/kernels/kernels.h"

namespace limbic::generation {
namespace {

// One thread's memory for a row.
struct Scratch {
  std::vector<float> row;
  std::vector<float> weights;
  std::vector<std::int32_t> order;
};

// Keeps the most likely tokens of the tempered row in `order`; returns the sum of their weights.
double filter(const SamplingConfig& config, Scratch& scratch, double sum) {
  const auto vocabulary = static_cast<std::int64_t>(scratch.weights.size());
  scratch.order.resize(scratch.weights.size());
  std::iota(scratch.order.begin(), scratch.order.end(), 0);
  const auto logit = [&](std::int32_t token) {
    return scratch.row[static_cast<std::size_t>(token)];
  };
  const auto heavier = [&](std::int32_t a, std::int32_t b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  };
  const std::int64_t count = config.top_k > 0 ? std::min(config.top_k, vocabulary) : vocabulary;
  if (count < vocabulary) {
    const auto last = scratch.order.begin() + (count - 1);
    std::nth_element(scratch.order.begin(), last, scratch.order.end(), heavier);
    const float smallest = logit(*last);
    scratch.order.erase(
        std::partition(last + 1, scratch.order.end(),
                       [&](std::int32_t token) { return logit(token) == smallest; }),
        scratch.order.end());
    sum = 0.0;
    for (const std::int32_t token : scratch.order)
      sum += scratch.weights[static_cast<std::size_t>(token)];
  }
  std::sort(scratch.order.begin(), scratch.order.end(), heavier);
  if (config.top_p >= 1.0) return sum;
  double kept = 0.0;
  std::size_t size = 0;
  while (size < scratch.order.size() && (size == 0 || kept < config.top_p * sum)) {
    kept += scratch.weights[static_cast<std::size_t>(scratch.order[size++])];
  }
  scratch.order.resize(size);
  return kept;
}

// `point` may lie behind the last token by the rounding of the sums; that sliver belongs to the
// most likely token, so that none of next to no weight is ever drawn for it.
std::int32_t pick_in_order(const Scratch& scratch, double point) {
  double sum = 0.0;
  for (const std::int32_t token : scratch.order) {
    sum += scratch.weights[static_cast<std::size_t>(token)];
    if (point < sum) return token;
  }
  return scratch.order.front();
}

std::int32_t pick_anywhere(const std::vector<float>& weights, double point, std::int32_t best) {
  double sum = 0.0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    sum += weights[i];
    if (point < sum) return static_cast<std::int32_t>(i);
  }
  return best;
}

Draw draw_row(const SamplingConfig& config, Scratch& scratch, const kernels::RowStats& stats,
              std::span<const std::int32_t> banned, std::uint64_t seed) {
  for (const std::int32_t token : banned) {
    scratch.row[static_cast<std::size_t>(token)] = -INFINITY;
  }
  const auto at = [&](std::int32_t token) { return scratch.row[static_cast<std::size_t>(token)]; };
  const auto best = std::max_element(scratch.row.begin(), scratch.row.end());
  check(*best > -INFINITY, "every token is banned");
  const auto best_token = static_cast<std::int32_t>(best - scratch.row.begin());
  Draw draw;
  if (config.temperature == 0.0) {
    draw.token = best_token;
    draw.logprob = at(draw.token) - stats.log_sum_exp;
    draw.policy_logprob = draw.logprob;
    return draw;
  }
  scratch.weights.resize(scratch.row.size());
  double sum = kernels::kernels().exp_shifted(
      scratch.row.data(), *best, static_cast<float>(1.0 / config.temperature),
      scratch.weights.data(), static_cast<std::int64_t>(scratch.row.size()));
  const double unfiltered = sum;
  const double uniform = Random(seed).uniform();
  if (config.top_k > 0 || config.top_p < 1.0) {
    sum = filter(config, scratch, sum);
    draw.token = pick_in_order(scratch, uniform * sum);
  } else {
    draw.token = pick_anywhere(scratch.weights, uniform * sum, best_token);
  }
  draw.logprob = at(draw.token) - stats.log_sum_exp;
  const double weight = scratch.weights[static_cast<std::size_t>(draw.token)];
  draw.sampling_logprob = static_cast<float>(std::log(weight / sum));
  draw.policy_logprob = static_cast<float>(std::log(weight / unfiltered));
  return draw;
}

}  // namespace

void describe(Fields& f, SamplingConfig& c) {
  f.field("temperature", c.temperature, "sampling temperature; 0 is greedy", Bounds::at_least(0.0));
  f.field("top_p", c.top_p, "keep the most likely tokens up to this mass",
          {.min = 0.0, .max = 1.0, .open_min = true});
  f.field("top_k", c.top_k, "keep this many most likely tokens; 0 keeps all", Bounds::at_least(0));
}

std::vector<Draw> sample_rows(const at::Tensor& logits, const SamplingConfig& config,
                              std::span<const std::uint64_t> seeds,
                              std::span<const std::int32_t> banned) {
  const std::int64_t rows = logits.size(0);
  const std::int64_t vocabulary = logits.size(1);
  check(static_cast<std::int64_t>(seeds.size()) == rows, "one seed per row");
  const at::Tensor wide = logits.to(at::kFloat).contiguous();
  std::vector<Draw> draws(static_cast<std::size_t>(rows));
  std::atomic<bool> broken{false};
  at::parallel_for(0, rows, 1, [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    for (std::int64_t row = begin; row < end; ++row) {
      const float* values = wide.data_ptr<float>() + row * vocabulary;
      kernels::RowStats stats;
      kernels::kernels().f32.row_stats(values, nullptr, &stats, 0, 1, vocabulary);
      if (!std::isfinite(stats.log_sum_exp)) {
        broken = true;
        return;
      }
      const auto i = static_cast<std::size_t>(row);
      if (config.temperature == 0.0 && banned.empty()) {
        const float logprob = values[stats.argmax] - stats.log_sum_exp;
        draws[i] = {stats.argmax, logprob, 0.0f, logprob};
        continue;
      }
      scratch.row.assign(values, values + vocabulary);
      draws[i] = draw_row(config, scratch, stats, banned, seeds[i]);
    }
  });
  if (broken)
    throw DataError("generation: got logits that are not finite; are the weights damaged?");
  return draws;
}

}  // namespace limbic::generation
