// Every instruction set that this CPU has against the best one: the choice must not change results
// beyond rounding.
#include "trainer/tensor/kernels/kernels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace limbic::kernels {
namespace {

std::vector<const Kernels*> sets() {
  std::vector<const Kernels*> out(8);
  out.resize(available_kernels(out.data(), out.size()));
  return out;
}

at::Tensor wave(at::IntArrayRef shape, double phase) {
  return (at::arange(c10::multiply_integers(shape), at::kFloat) * 0.37 + phase).sin().view(shape) *
         3;
}

float* raw(const at::Tensor& tensor) { return tensor.data_ptr<float>(); }

void expect_near(const at::Tensor& got, const at::Tensor& want, const char* set) {
  EXPECT_TRUE(at::allclose(got, want, 1e-5, 1e-6)) << set;
}

TEST(KernelSets, BaselineIsAlwaysThereAndTheBestIsChosen) {
  const auto all = sets();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(&kernels(), all.front());
}

TEST(KernelSets, NormAndGatesAgreeWithAten) {
  constexpr std::int64_t kRows = 5, kWidth = 37;
  const at::Tensor h = wave({kRows, kWidth}, 0.1);
  const at::Tensor delta = wave({kRows, kWidth}, 0.7);
  const at::Tensor weight = wave({kWidth}, 1.1);
  const at::Tensor want_sum = h + delta;
  const at::Tensor want = want_sum * at::rsqrt(want_sum.pow(2).mean(-1, true) + 1e-5) * weight;
  const at::Tensor gate_up = wave({kRows, 2 * kWidth}, 0.4);
  const auto halves = gate_up.chunk(2, -1);
  for (const Kernels* set : sets()) {
    at::Tensor sum = at::empty_like(h), y = at::empty_like(h), rstd = at::empty({kRows});
    set->f32.add_rms_norm(raw(h), raw(delta), raw(weight), 1e-5f, raw(sum), raw(y), raw(rstd), 0,
                          kRows, kWidth);
    expect_near(sum, want_sum, set->name);
    expect_near(y, want, set->name);
    at::Tensor gated = at::empty({kRows, kWidth});
    set->f32.swiglu(raw(gate_up), raw(gated), 0, kRows, kWidth);
    expect_near(gated, at::silu(halves[0]) * halves[1], set->name);
    set->f32.geglu(raw(gate_up), raw(gated), 0, kRows, kWidth);
    expect_near(gated, at::gelu(halves[0], "tanh") * halves[1], set->name);
  }
}

TEST(KernelSets, ProductsOfFewRowsAgreeWithFloat64) {
  struct Case {
    std::int64_t rows, depth, out;
  };
  for (const Case& c : {Case{1, 1, 1}, Case{7, 33, 5}, Case{16, 64, 30}, Case{21, 600, 29},
                        Case{64, 300, 12}, Case{70, 17, 3}}) {
    const at::Tensor x = wave({c.rows, c.depth + 3}, 0.2).slice(1, 0, c.depth);
    const at::Tensor w = wave({c.out, c.depth}, 0.9);
    const at::Tensor want = at::mm(x.to(at::kDouble), w.to(at::kDouble).t());
    for (const Kernels* set : sets()) {
      at::Tensor turned = at::full({c.depth, set->few_rows_padded(c.rows)}, NAN);
      set->turn_rows(raw(x), x.stride(0), c.rows, 0, c.depth / 2, raw(turned));
      set->turn_rows(raw(x), x.stride(0), c.rows, c.depth / 2, c.depth, raw(turned));
      at::Tensor y = at::full({c.rows, c.out + 2}, NAN);
      const FewRowsProduct job{raw(turned), raw(w), raw(y), y.size(1), c.rows, c.depth};
      set->few_rows_product(job, 0, c.out / 3);
      set->few_rows_product(job, c.out / 3, c.out);
      const at::Tensor got = y.slice(1, 0, c.out).to(at::kDouble);
      EXPECT_LT((got - want).abs().max().item<double>(), 2e-6 * static_cast<double>(9 * c.depth))
          << set->name << " " << c.rows << " " << c.depth << " " << c.out;
      EXPECT_TRUE(y.slice(1, c.out).isnan().all().item<bool>());
    }
  }
}

TEST(KernelSets, RowStatsAgreeWithAten) {
  constexpr std::int64_t kRows = 4, kVocabulary = 53;
  const at::Tensor logits = wave({kRows, kVocabulary}, 0.3) * 4;
  const at::Tensor logprobs = at::log_softmax(logits.to(at::kDouble), -1);
  const std::array<std::int32_t, kRows> targets = {0, 52, 7, 20};
  for (const Kernels* set : sets()) {
    std::array<RowStats, kRows> stats{};
    set->f32.row_stats(raw(logits), targets.data(), stats.data(), 0, kRows, kVocabulary);
    for (std::int64_t row = 0; row < kRows; ++row) {
      const RowStats& got = stats[static_cast<std::size_t>(row)];
      const at::Tensor line = logprobs[row];
      EXPECT_NEAR(got.target_logit - got.log_sum_exp,
                  line[targets[static_cast<std::size_t>(row)]].item<double>(), 1e-5);
      EXPECT_NEAR(got.entropy, -(line.exp() * line).sum().item<double>(), 1e-5);
      EXPECT_EQ(got.argmax, line.argmax().item<std::int64_t>());
    }
  }
}

// Sums over a large vocabulary must not drift: the log-probability of every token hangs on them.
TEST(KernelSets, RowStatsOfALargeVocabularyAreExact) {
  constexpr std::int64_t kVocabulary = 262'144;
  const at::Tensor logits = wave({1, kVocabulary}, 0.3);
  const at::Tensor line = at::log_softmax(logits[0].to(at::kDouble), -1);
  const double wanted = at::logsumexp(logits[0].to(at::kDouble), {0}).item<double>();
  for (const Kernels* set : sets()) {
    RowStats stats{};
    set->f32.row_stats(raw(logits), nullptr, &stats, 0, 1, kVocabulary);
    EXPECT_NEAR(stats.log_sum_exp, wanted, 3e-6) << set->name;
    EXPECT_NEAR(stats.entropy, -(line.exp() * line).sum().item<double>(), 1e-5) << set->name;
    at::Tensor weights = at::empty_like(logits);
    const double sum = set->exp_shifted(raw(logits), 3.0f, 1.0f, raw(weights), kVocabulary);
    EXPECT_NEAR(sum / weights.to(at::kDouble).sum().item<double>(), 1.0, 1e-6) << set->name;
  }
}

TEST(KernelSets, NotANumberSurvivesAnywhereInARow) {
  for (const Kernels* set : sets()) {
    for (const std::int64_t place : {0, 13, 36}) {
      at::Tensor logits = wave({1, 37}, 0.0);
      logits[0][place] = NAN;
      RowStats stats{};
      set->f32.row_stats(raw(logits), nullptr, &stats, 0, 1, 37);
      EXPECT_TRUE(std::isnan(stats.log_sum_exp)) << set->name << " " << place;
    }
  }
}

TEST(KernelSets, ExponentialIsExactToAFewUlps) {
  const at::Tensor x = at::linspace(-87, 0, 10'007);
  const at::Tensor want = x.to(at::kDouble).exp();
  for (const Kernels* set : sets()) {
    at::Tensor out = at::empty_like(x);
    const double sum = set->exp_shifted(raw(x), 0.0f, 1.0f, raw(out), x.numel());
    EXPECT_LT((out.to(at::kDouble) - want).abs().div(want).max().item<double>(), 5e-7) << set->name;
    EXPECT_NEAR(sum, want.sum().item<double>(), 1e-3) << set->name;
    for (const float far : {-87.5f, -1e30f, -INFINITY}) {
      float weight = 1.0f;
      EXPECT_EQ(set->exp_shifted(&far, 0.0f, 1.0f, &weight, 1), 0.0f) << set->name;
      EXPECT_EQ(weight, 0.0f);
    }
  }
}

TEST(KernelSets, AdamwAgreesBetweenSets) {
  constexpr std::int64_t kSize = 103;
  const AdamwStep step{.learning_rate = 0.1f,
                       .beta2 = 0.999f,
                       .eps = 1e-8f,
                       .weight_decay = 0.1f,
                       .rest1 = 0.1f,
                       .rest2 = 1e-3f,
                       .bias_correction1 = 0.1f,
                       .bias_correction2 = 1e-3f,
                       .gradient_scale = 0.5f};
  const at::Tensor gradient = wave({kSize}, 0.2);
  at::Tensor first_result;
  for (const Kernels* set : sets()) {
    at::Tensor weight = wave({kSize}, 0.9), m = at::zeros({kSize}), v = at::zeros({kSize});
    // Rows outside [begin, end) stay untouched.
    set->adamw(step, raw(weight), raw(gradient), raw(m), raw(v), 1, kSize - 1);
    EXPECT_EQ(weight[0].item<float>(), wave({kSize}, 0.9)[0].item<float>());
    EXPECT_EQ(m[kSize - 1].item<float>(), 0.0f);
    if (!first_result.defined()) first_result = weight;
    expect_near(weight, first_result, set->name);
  }
}

}  // namespace
}  // namespace limbic::kernels
