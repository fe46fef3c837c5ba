// A step's gradient does not depend on micro-batches, ranks or packing, whatever the loss.
#include "rl/policy/policy_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <mutex>

#include "data/row_plan.h"
#include "tests/support/test_run.h"
#include "tests/unit/rl/rollouts.h"
#include "trainer/parallel/collectives.h"

namespace limbic::rl {
namespace {

constexpr std::int64_t kCompletions = 8, kGroup = 4;

struct Layout {
  int ranks = 1;
  std::int64_t rows = 8;  // of a micro-batch
  bool packing = true;
};

struct Outcome {
  double loss = 0.0;
  at::Tensor gradient;  // of all leaves
  Json metrics;
};

PolicyConfig config_of(LossType type) {
  PolicyConfig c;
  c.loss.loss_type = type;
  c.num_generations = kGroup;
  c.max_completion_length = 6;
  c.num_iterations = 2;  // old_logprobs are kept
  if (type == LossType::kLuspo || type == LossType::kRloo)
    c.loss.importance_sampling_level = Level::kSequence;
  if (type == LossType::kCispo) c.loss.surrogate.epsilon_high = 1.5;
  return c;
}

Outcome run(const PolicyConfig& base, const Layout& layout) {
  Outcome out;
  std::mutex mutex;
  parallel::run_ranks(layout.ranks, [&](parallel::Communicator& communicator) {
    const test::TempFolder folder;
    engine::TestRun place(communicator, folder.file("run"));
    PolicyConfig config = base;
    config.train.per_device_train_batch_size = layout.rows;
    config.train.packing = layout.packing;
    std::vector<std::int64_t> all(kCompletions);
    for (std::int64_t i = 0; i < kCompletions; ++i) all[static_cast<std::size_t>(i)] = i;
    std::vector<Trajectory> mine;
    for (const std::int64_t i : data::shard(all, communicator.rank(), communicator.size())) {
      mine.push_back(made_up(i, kGroup));
    }
    PolicyStep step(place.context, config, mine, 0);
    double loss = 0.0;
    for (std::size_t i = 0; i < step.size(); ++i) {
      const at::Tensor part = step.loss(i);
      part.backward();
      loss += part.item<double>();
    }
    std::vector<at::Tensor> gradients;
    for (const auto& leaf : place.decoder.trained_leaves()) {
      gradients.push_back(leaf.tensor.grad().flatten());
    }
    at::Tensor gradient = at::cat(gradients);
    communicator.all_reduce_sum(gradient);
    const double whole = parallel::sum(communicator, {loss})[0];
    const Json metrics = step.metrics();
    const std::lock_guard lock(mutex);
    out = {.loss = whole, .gradient = gradient, .metrics = metrics};
  });
  return out;
}

void expect_same_step(const Outcome& got, const Outcome& want, const std::string& name) {
  EXPECT_NEAR(got.loss, want.loss, 1e-5 * std::max(1.0, std::abs(want.loss))) << name;
  const double scale = want.gradient.abs().max().item<double>();
  EXPECT_GT(scale, 0.0) << name;
  EXPECT_LE((got.gradient - want.gradient).abs().max().item<double>(), 1e-5 * scale) << name;
  for (const auto& [key, value] : want.metrics.items()) {
    EXPECT_NEAR(got.metrics.at(key).get<double>(), value.get<double>(),
                1e-4 * std::max(1.0, std::abs(value.get<double>())))
        << name << " " << key;
  }
}

void expect_invariant(const PolicyConfig& config, const std::string& name) {
  const Outcome want = run(config, {});
  for (const int ranks : {1, 2, 4}) {
    for (const std::int64_t rows : {8, 4, 1}) {
      expect_same_step(run(config, {.ranks = ranks, .rows = rows}), want,
                       name + " ranks " + std::to_string(ranks) + " rows " + std::to_string(rows));
    }
    expect_same_step(run(config, {.ranks = ranks, .packing = false}), want,
                     name + " one at a time, ranks " + std::to_string(ranks));
  }
}

class PolicyStepTypes : public testing::TestWithParam<LossType> {};

TEST_P(PolicyStepTypes, TheCutDoesNotMatter) { expect_invariant(config_of(GetParam()), "plain"); }

TEST_P(PolicyStepTypes, TheCutDoesNotMatterWithEverythingOnTop) {
  PolicyConfig config = config_of(GetParam());
  config.loss.kl.beta = 0.2;
  config.loss.correction.enabled = true;
  config.loss.correction.clip_max = 1.2;
  config.loss.entropy_coef = 0.05;
  config.loss.top_entropy_quantile = 0.6;
  config.sample_weight = "weight";
  config.mask_truncated_completions = true;
  expect_invariant(config, "everything");
}

INSTANTIATE_TEST_SUITE_P(All, PolicyStepTypes,
                         testing::Values(LossType::kGrpo, LossType::kBnpo, LossType::kDrGrpo,
                                         LossType::kDapo, LossType::kCispo, LossType::kSapo,
                                         LossType::kLuspo, LossType::kRloo));

TEST(PolicyStep, SequenceRatiosDoNotDependOnTheCut) {
  PolicyConfig config = config_of(LossType::kGrpo);
  config.loss.importance_sampling_level = Level::kSequence;
  expect_invariant(config, "gspo");
}

// The masked completion has no tokens in the loss, but still counts among those averaged over.
TEST(PolicyStep, ThePolicyIsTemperedAsItSamples) {
  PolicyConfig config = config_of(LossType::kGrpo);
  const Outcome plain = run(config, {});
  config.sampling.temperature = 0.5;
  const Outcome cold = run(config, {});
  EXPECT_LT(cold.metrics.at("entropy").get<double>(), plain.metrics.at("entropy").get<double>());
  EXPECT_FALSE(at::allclose(cold.gradient, plain.gradient));
  config.sampling.temperature = 0.0;  // greedy draws leave the policy as it is
  EXPECT_TRUE(at::equal(run(config, {}).gradient, plain.gradient));
}

TEST(PolicyStep, TotalsOfTheWholeStep) {
  const auto communicator = parallel::make_local();
  const test::TempFolder folder;
  engine::TestRun place(*communicator, folder.file("run"));
  PolicyConfig config = config_of(LossType::kGrpo);
  config.mask_truncated_completions = true;
  std::vector<Trajectory> mine;
  double tokens = 0.0;
  for (std::int64_t i = 0; i < kCompletions; ++i) {
    mine.push_back(made_up(i, kGroup));
    if (i == 2) mine.back().advantage.reset();
    const bool out = i == 2 || mine.back().truncated;
    if (!out) tokens += static_cast<double>(mine.back().ids.size());
  }
  const PolicyStep step(place.context, config, mine, 0);
  EXPECT_EQ(step.totals().completions, 7.0);
  EXPECT_EQ(step.totals().tokens, tokens);
  EXPECT_EQ(step.totals().selected, tokens);
}

TEST(PolicyStep, TokensOfHighEntropyAreAShareOfTheStep) {
  const auto communicator = parallel::make_local();
  const test::TempFolder folder;
  engine::TestRun place(*communicator, folder.file("run"));
  PolicyConfig config = config_of(LossType::kDapo);
  config.loss.top_entropy_quantile = 0.5;
  std::vector<Trajectory> mine;
  for (std::int64_t i = 0; i < kCompletions; ++i) mine.push_back(made_up(i, kGroup));
  const PolicyStep step(place.context, config, mine, 0);
  EXPECT_NEAR(step.totals().selected / step.totals().tokens, 0.5, 0.05);
}

}  // namespace
}  // namespace limbic::rl
