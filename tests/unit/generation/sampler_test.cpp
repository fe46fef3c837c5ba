#include "trainer/generation/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/seed.h"
#include "trainer/generation/aten_sampler.h"

namespace limbic::generation {
namespace {

at::Tensor row_of(const std::vector<float>& logits) { return at::tensor(logits).unsqueeze(0); }

std::vector<std::uint64_t> seeds_of(std::int64_t count) {
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < count; ++i) seeds.push_back(derive_seed(11, "test", i));
  return seeds;
}

// Both implementations.
class SampleRows : public ::testing::TestWithParam<decltype(&sample_rows)> {
 protected:
  static std::vector<Draw> sample(const at::Tensor& logits, const SamplingConfig& config,
                                  std::span<const std::uint64_t> seeds,
                                  std::span<const std::int32_t> banned = {}) {
    return GetParam()(logits, config, seeds, banned);
  }
  // One row drawn `count` times with different seeds.
  static std::vector<Draw> draws_of(const at::Tensor& row, const SamplingConfig& config,
                                    std::int64_t count, std::span<const std::int32_t> banned = {}) {
    return sample(row.expand({count, row.size(1)}), config, seeds_of(count), banned);
  }
  static double chi_square(const at::Tensor& row, const SamplingConfig& config,
                           std::int64_t& cells);
};
INSTANTIATE_TEST_SUITE_P(Maths, SampleRows, ::testing::Values(sample_rows, sample_rows_with_aten),
                         [](const auto& sampler) {
                           return std::string(sampler.param == sample_rows ? "Kernels" : "Aten");
                         });

TEST_P(SampleRows, GreedyTakesTheFirstOfTheBest) {
  const at::Tensor logits = at::tensor({1.0f, 4.0f, 4.0f, 0.0f, -1.0f, 2.0f}).view({2, 3});
  const std::vector<std::uint64_t> seeds = {1, 2};
  const auto draws = sample(logits, {.temperature = 0.0}, seeds);
  EXPECT_EQ(draws[0].token, 1);
  EXPECT_EQ(draws[1].token, 2);
  const at::Tensor logprobs = at::log_softmax(logits, -1);
  EXPECT_NEAR(draws[0].logprob, logprobs[0][1].item<float>(), 1e-6);
  EXPECT_NEAR(draws[1].logprob, logprobs[1][2].item<float>(), 1e-6);
  EXPECT_EQ(draws[0].sampling_logprob, 0.0f);
}

TEST_P(SampleRows, Bfloat16RowsAreReadAsTheyAre) {
  const at::Tensor logits = at::linspace(-2, 3, 40).unsqueeze(0).to(at::kBFloat16);
  const std::vector<std::uint64_t> seeds = {9};
  for (const double temperature : {0.0, 1.0}) {
    const auto narrow = sample(logits, {.temperature = temperature}, seeds);
    const auto wide = sample(logits.to(at::kFloat), {.temperature = temperature}, seeds);
    EXPECT_EQ(narrow[0].token, wide[0].token);
    EXPECT_EQ(narrow[0].logprob, wide[0].logprob);
  }
}

TEST_P(SampleRows, DrawDependsOnItsSeedAloneNotOnThePlaceInTheBatch) {
  const at::Tensor logits = at::linspace(0, 40, 12 * 31).sin().view({12, 31}) * 2;
  std::vector<std::uint64_t> seeds;
  for (std::uint64_t i = 0; i < 12; ++i) seeds.push_back(100 + i);
  for (const SamplingConfig& config :
       {SamplingConfig{}, SamplingConfig{.temperature = 0.7, .top_p = 0.9, .top_k = 9}}) {
    const auto all = sample(logits, config, seeds);
    for (std::int64_t row = 0; row < 12; ++row) {
      const auto at = static_cast<std::size_t>(row);
      const auto alone = sample(logits.slice(0, row, row + 1), config, std::span(&seeds[at], 1));
      EXPECT_EQ(alone[0].token, all[at].token);
      EXPECT_EQ(alone[0].logprob, all[at].logprob);
      EXPECT_EQ(alone[0].sampling_logprob, all[at].sampling_logprob);
    }
  }
}

// Pearson's statistic of 20,000 draws against the tempered softmax.
double SampleRows::chi_square(const at::Tensor& row, const SamplingConfig& config,
                              std::int64_t& cells) {
  constexpr std::int64_t kDraws = 20'000;
  const at::Tensor wanted = at::softmax(row[0].to(at::kDouble) / config.temperature, -1);
  std::vector<double> seen(static_cast<std::size_t>(row.size(1)), 0.0);
  for (const Draw& draw : draws_of(row, config, kDraws)) {
    seen[static_cast<std::size_t>(draw.token)] += 1.0;
  }
  double sum = 0.0;
  cells = row.size(1);
  for (std::int64_t i = 0; i < cells; ++i) {
    const double expected = wanted[i].item<double>() * kDraws;
    EXPECT_GT(expected, 5.0) << "the statistic needs fuller cells";
    const double gap = seen[static_cast<std::size_t>(i)] - expected;
    sum += gap * gap / expected;
  }
  return sum;
}

TEST_P(SampleRows, FrequenciesFollowTheTemperedSoftmax) {
  const at::Tensor row = at::linspace(-2, 2, 17).unsqueeze(0);
  for (const double temperature : {1.0, 0.7, 2.5}) {
    std::int64_t cells = 0;
    const double sum = chi_square(row, {.temperature = temperature}, cells);
    EXPECT_LT(sum, 39.3) << temperature;  // 99.9 % of chi-square with 16 degrees of freedom
    // The same through the sorted path, which keeps everything.
    EXPECT_LT(chi_square(row, {.temperature = temperature, .top_k = 17}, cells), 39.3);
  }
}

TEST_P(SampleRows, SupportsAndLogprobsAreThoseOfTransformers) {
  const Json cases = Json::parse(read_file(LIMBIC_SOURCE_DIR "/tests/unit/generation/golden.json"));
  ASSERT_GT(cases.size(), 20u);
  for (const Json& run : cases) {
    const at::Tensor row = row_of(run.at("logits").get<std::vector<float>>());
    const SamplingConfig config{.temperature = run.at("temperature").get<double>(),
                                .top_p = run.at("top_p").get<double>(),
                                .top_k = run.at("top_k").get<std::int64_t>()};
    const auto kept = run.at("kept").get<std::vector<std::int32_t>>();
    const auto logprobs = run.at("logprobs").get<std::vector<double>>();
    const std::string name = run.at("row").dump() + " k " + std::to_string(config.top_k) + " p " +
                             std::to_string(config.top_p);
    // Every kept token has at least e^-9 in these rows; the seeds are fixed.
    std::set<std::int32_t> seen;
    for (const Draw& draw : draws_of(row, config, 4000)) {
      seen.insert(draw.token);
      const auto at = std::find(kept.begin(), kept.end(), draw.token);
      ASSERT_NE(at, kept.end()) << name << ": " << draw.token << " was drawn";
      EXPECT_NEAR(draw.sampling_logprob, logprobs[static_cast<std::size_t>(at - kept.begin())],
                  2e-6)
          << name;
    }
    for (std::size_t i = 0; i < kept.size(); ++i) {
      if (logprobs[i] < -6.0) continue;  // too rare for 4000 draws
      EXPECT_EQ(seen.count(kept[i]), 1u) << name << ": " << kept[i] << " was never drawn";
    }
  }
}

TEST_P(SampleRows, LogprobIsUntemperedAndUnfiltered) {
  const at::Tensor row = at::linspace(-1, 2, 9).unsqueeze(0);
  const at::Tensor plain = at::log_softmax(row[0].to(at::kDouble), -1);
  const at::Tensor tempered = at::log_softmax(row[0].to(at::kDouble) / 0.5, -1);
  for (const Draw& draw : draws_of(row, {.temperature = 0.5, .top_p = 0.9, .top_k = 4}, 50)) {
    EXPECT_NEAR(draw.logprob, plain[draw.token].item<double>(), 1e-6);
    EXPECT_NEAR(draw.policy_logprob, tempered[draw.token].item<double>(), 1e-6);
  }
  const double mass = plain.slice(0, 5).exp().sum().item<double>();
  for (const Draw& draw : draws_of(row, {.top_k = 4}, 50)) {
    EXPECT_NEAR(draw.sampling_logprob, draw.logprob - std::log(mass), 1e-6);
  }
  for (const Draw& draw : draws_of(row, {}, 50)) {
    EXPECT_NEAR(draw.sampling_logprob, draw.logprob, 1e-6);
  }
}

TEST_P(SampleRows, BannedTokensAreNeverDrawnButStayInTheNormaliser) {
  const at::Tensor row = row_of({1.0f, 5.0f, 0.5f, 4.0f});
  const std::vector<std::int32_t> banned = {1, 3};
  const at::Tensor plain = at::log_softmax(row[0].to(at::kDouble), -1);
  const double rest = std::log(std::exp(1.0) + std::exp(0.5));
  for (const SamplingConfig& config :
       {SamplingConfig{}, SamplingConfig{.top_k = 3}, SamplingConfig{.top_p = 0.999},
        SamplingConfig{.temperature = 0.0}}) {
    for (const Draw& draw : draws_of(row, config, 500, banned)) {
      ASSERT_TRUE(draw.token == 0 || draw.token == 2) << draw.token;
      EXPECT_NEAR(draw.logprob, plain[draw.token].item<double>(), 1e-6);
      if (config.temperature == 0.0) {
        EXPECT_EQ(draw.token, 0);
      } else {
        EXPECT_NEAR(draw.sampling_logprob, row[0][draw.token].item<double>() - rest, 1e-6);
      }
    }
  }
}

TEST_P(SampleRows, NothingLeftToDrawIsABug) {
  const std::vector<std::int32_t> banned = {0, 1};
  EXPECT_THROW(draws_of(row_of({1.0f, 2.0f}), {}, 1, banned), std::logic_error);
  EXPECT_THROW(draws_of(row_of({1.0f, 2.0f}), {.temperature = 0.0}, 1, banned), std::logic_error);
}

TEST_P(SampleRows, NotANumberAnywhereIsRefused) {
  for (const std::size_t place : {0u, 7u, 16u}) {
    for (const double temperature : {0.0, 1.0}) {
      std::vector<float> logits(17, 0.5f);
      logits[place] = NAN;
      EXPECT_THROW(draws_of(row_of(logits), {.temperature = temperature}, 1), DataError) << place;
    }
  }
}

TEST_P(SampleRows, OneSeedPerRow) {
  const std::vector<std::uint64_t> seeds = {1, 2};
  EXPECT_THROW(sample(row_of({1.0f, 2.0f}), {}, seeds), std::logic_error);
}

// The same seed draws the same token from either.
TEST(SampleRowsWithAten, DrawsWhatTheKernelsDraw) {
  const at::Tensor logits = at::linspace(0, 4000, 300 * 101).sin().view({300, 101}) * 3;
  const std::vector<std::uint64_t> seeds = seeds_of(300);
  const std::vector<std::int32_t> banned = {5, 17};
  for (const SamplingConfig& config :
       {SamplingConfig{.temperature = 0.0}, SamplingConfig{}, SamplingConfig{.temperature = 0.6},
        SamplingConfig{.top_p = 0.8}, SamplingConfig{.top_k = 7},
        SamplingConfig{.temperature = 1.7, .top_p = 0.95, .top_k = 40}}) {
    const auto got = sample_rows_with_aten(logits, config, seeds, banned);
    const auto want = sample_rows(logits, config, seeds, banned);
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(got[i].token, want[i].token) << i;
      EXPECT_NEAR(got[i].logprob, want[i].logprob, 2e-6);
      EXPECT_NEAR(got[i].sampling_logprob, want[i].sampling_logprob, 2e-6);
      EXPECT_NEAR(got[i].policy_logprob, want[i].policy_logprob, 2e-6);
    }
  }
}

}  // namespace
}  // namespace limbic::generation
