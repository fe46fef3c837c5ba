// The losses against the reference of make_reference.py (NumPy and autograd in float64, compared
// with TRL there), in float64 and float32, and against themselves cut into micro-batches.
#include "rl/loss/policy_loss.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "rl/loss/advantage.h"
#include "trainer/base/file.h"

namespace limbic::rl {
namespace {

const std::map<std::string, LossType> kTypes = {
    {"grpo", LossType::kGrpo},   {"bnpo", LossType::kBnpo},   {"dr_grpo", LossType::kDrGrpo},
    {"dapo", LossType::kDapo},   {"cispo", LossType::kCispo}, {"sapo", LossType::kSapo},
    {"luspo", LossType::kLuspo}, {"rloo", LossType::kRloo},
};
const std::map<std::string, ScaleRewards> kScales = {{"group", ScaleRewards::kGroup},
                                                     {"batch", ScaleRewards::kBatch},
                                                     {"none", ScaleRewards::kNone}};
const std::map<std::string, KlEstimator> kEstimators = {
    {"k1", KlEstimator::kK1}, {"k2", KlEstimator::kK2}, {"k3", KlEstimator::kK3}};

class PolicyLossReference : public ::testing::Test {
 protected:
  PolicyLossReference()
      : golden_(Json::parse(read_file(LIMBIC_SOURCE_DIR "/tests/unit/loss/reference.json"))),
        lengths_(golden_.at("lengths").get<std::vector<std::int64_t>>()) {
    offsets_ = {0};
    for (const std::int64_t length : lengths_) offsets_.push_back(offsets_.back() + length);
  }

  const Json& cases() const { return golden_.at("cases"); }

  PolicyLossConfig config_of(const Json& run) const {
    PolicyLossConfig c;
    c.loss_type = kTypes.at(run.at("type"));
    c.importance_sampling_level = run.at("level") == "token" ? Level::kToken : Level::kSequence;
    c.surrogate.epsilon = run.at("epsilon");
    if (run.contains("epsilon_high")) c.surrogate.epsilon_high = run.at("epsilon_high");
    if (run.contains("cap")) c.surrogate.epsilon_high = run.at("cap");
    if (run.contains("delta")) c.surrogate.delta = run.at("delta");
    c.kl.bias_correction = false;
    if (!run.at("kl").is_null()) {
      const auto name = run.at("kl").get<std::string>();
      c.kl.beta = golden_.at("beta");
      c.kl.estimator = kEstimators.at(name.substr(0, 2));
      c.kl.bias_correction = name.size() > 2;
    }
    if (run.contains("correction")) {
      const auto mode = run.at("correction").get<std::string>();
      c.correction = {.enabled = true,
                      .level = mode.starts_with("token") ? Level::kToken : Level::kSequence,
                      .mask = mode.ends_with("mask"),
                      .clip_min = run.at("bounds").at(0),
                      .clip_max = run.at("bounds").at(1)};
    }
    if (run.contains("quantile")) c.top_entropy_quantile = run.at("quantile");
    if (run.contains("entropy_coef")) c.entropy_coef = run.at("entropy_coef");
    return c;
  }

  // The advantages of the step come from its rewards.
  std::vector<double> advantages_of(const Json& run) const {
    RewardTerm reward;
    for (const Json& value : golden_.at("rewards")) reward.values.push_back(value.get<double>());
    AdvantageConfig config;
    config.scale_rewards = kScales.at(run.at("scale"));
    std::vector<double> out;
    const std::vector<Column> parts = advantages({reward}, golden_.at("group"), config);
    for (const auto& value : parts[0]) out.push_back(value.value());
    return out;
  }

  // Completions [first, last).
  PolicyInputs inputs(const Json& run, at::ScalarType type, std::size_t first,
                      std::size_t last) const {
    const auto part = [&](const std::vector<double>& whole) {
      return at::tensor(whole, at::kDouble)
          .slice(0, offsets_[first], offsets_[last])
          .to(type)
          .clone();
    };
    const auto column = [&](const char* name) {
      return part(golden_.at("data").at(name).get<std::vector<double>>());
    };
    const auto spread = [&](const std::vector<double>& each) {
      std::vector<double> tokens;
      for (std::size_t c = 0; c < each.size(); ++c) {
        tokens.insert(tokens.end(), static_cast<std::size_t>(lengths_[c]), each[c]);
      }
      return part(tokens);
    };
    PolicyInputs out;
    out.lengths.assign(lengths_.begin() + static_cast<std::ptrdiff_t>(first),
                       lengths_.begin() + static_cast<std::ptrdiff_t>(last));
    out.logprobs = column("logprobs").requires_grad_();
    out.old_logprobs = column("old");
    out.ref_logprobs = column("reference");
    out.sampling_logprobs = column("sampling");
    out.entropy = column("entropy").requires_grad_();
    out.advantages = spread(advantages_of(run));
    if (run.contains("weights")) out.weights = spread(run.at("weights"));
    if (run.contains("quantile")) out.selected = part(selected(run));
    return out;
  }

  std::vector<double> selected(const Json& run) const {
    const auto entropy = golden_.at("data").at("entropy").get<std::vector<float>>();
    const double threshold = entropy_threshold(entropy, run.at("quantile"));
    std::vector<double> out;
    for (const float value : entropy) out.push_back(value >= threshold ? 1.0 : 0.0);
    return out;
  }

  StepTotals totals(const Json& run) const {
    StepTotals out{.tokens = static_cast<double>(offsets_.back()),
                   .completions = static_cast<double>(lengths_.size()),
                   .selected = static_cast<double>(offsets_.back()),
                   .max_completion_length = golden_.at("max_length").get<double>()};
    if (run.contains("quantile")) {
      out.selected = 0.0;
      for (const double one : selected(run)) out.selected += one;
    }
    return out;
  }

  static std::string name_of(const Json& run) {
    Json brief = run;
    brief.erase("gradient");
    brief.erase("entropy_gradient");
    return brief.dump();
  }

  // |got - want| <= relative x the largest of the wanted.
  static void expect_close(const at::Tensor& got, const Json& want, double relative,
                           const std::string& name) {
    const at::Tensor values = at::tensor(want.get<std::vector<double>>(), at::kDouble);
    const double scale = std::max(1e-3, values.abs().max().item<double>());
    const at::Tensor now = got.defined() ? got.to(at::kDouble) : at::zeros_like(values);
    EXPECT_LE((now - values).abs().max().item<double>(), relative * scale) << name;
  }

  void expect_reference(at::ScalarType type, double relative) const {
    for (const Json& run : cases()) {
      const PolicyInputs in = inputs(run, type, 0, lengths_.size());
      const PolicyLoss out = policy_loss(in, totals(run), config_of(run));
      const double want = run.at("loss");
      EXPECT_NEAR(out.loss.item<double>(), want, relative * std::max(0.1, std::abs(want)))
          << name_of(run);
      out.loss.backward();
      expect_close(in.logprobs.grad(), run.at("gradient"), relative, name_of(run));
      if (run.contains("entropy_gradient")) {
        expect_close(in.entropy.grad(), run.at("entropy_gradient"), relative, name_of(run));
      }
    }
  }

  Json golden_;
  std::vector<std::int64_t> lengths_, offsets_;
};

TEST_F(PolicyLossReference, LossesAndGradientsInFloat64) { expect_reference(at::kDouble, 1e-6); }

TEST_F(PolicyLossReference, LossesAndGradientsInFloat32) { expect_reference(at::kFloat, 1e-4); }

TEST_F(PolicyLossReference, TheGridIsWhole) {
  std::map<std::string, std::set<std::string>> seen;
  for (const Json& run : cases()) {
    std::string choice = run.at("level").get<std::string>() + run.at("kl").dump();
    for (const char* key : {"scale", "epsilon", "epsilon_high", "delta", "correction", "quantile",
                            "entropy_coef", "weights"}) {
      if (run.contains(key)) choice += run.at(key).dump();
    }
    seen[run.at("type")].insert(choice);
  }
  ASSERT_EQ(seen.size(), kTypes.size());
  // 2 levels (luspo, rloo: 1) x 5 KL x 3 scales x 3 clips (cispo and sapo: 1), and 8 on top.
  for (const auto& [type, choices] : seen) {
    const std::size_t clips = type == "cispo" || type == "sapo" ? 1 : 3;
    EXPECT_EQ(choices.size(), (type == "luspo" || type == "rloo" ? 1 : 2) * 15 * clips + 8) << type;
  }
}

TEST_F(PolicyLossReference, CutIntoMicroBatchesIsTheSameStep) {
  for (const Json& run : cases()) {
    const PolicyLossConfig config = config_of(run);
    const PolicyInputs whole = inputs(run, at::kDouble, 0, lengths_.size());
    const PolicyLoss one = policy_loss(whole, totals(run), config);
    one.loss.backward();
    for (const auto& cuts : std::vector<std::vector<std::size_t>>{{0, 1, 2, 3, 4}, {0, 3, 4}}) {
      double loss = 0.0, kl = 0.0, low = 0.0, high = 0.0;
      std::vector<at::Tensor> gradients;
      for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        const PolicyInputs part = inputs(run, at::kDouble, cuts[i], cuts[i + 1]);
        const PolicyLoss out = policy_loss(part, totals(run), config);
        out.loss.backward();
        loss += out.loss.item<double>();
        kl += out.kl;
        low += out.clip_low;
        high += out.clip_high;
        gradients.push_back(part.logprobs.grad());
      }
      EXPECT_NEAR(loss, one.loss.item<double>(), 1e-12) << name_of(run);
      EXPECT_NEAR(kl, one.kl, 1e-12);
      EXPECT_NEAR(low, one.clip_low, 1e-12);
      EXPECT_NEAR(high, one.clip_high, 1e-12);
      EXPECT_TRUE(at::allclose(at::cat(gradients), whole.logprobs.grad(), 1e-12, 1e-15))
          << name_of(run);
    }
  }
}

// One completion of two tokens, ratio e^0.5 and e^-0.5; gradients by hand.
struct ByHand {
  PolicyLoss out;
  at::Tensor grad;
};
ByHand two_tokens(double advantage, const PolicyLossConfig& config) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  PolicyInputs in;
  in.lengths = {2};
  in.logprobs = at::tensor({-0.5, -1.5}, options).requires_grad_();
  in.old_logprobs = at::tensor({-1.0, -1.0}, options);
  in.advantages = at::full({2}, advantage, options);
  const PolicyLoss out = policy_loss(
      in, {.tokens = 2, .completions = 1, .selected = 2, .max_completion_length = 9}, config);
  out.loss.backward();
  return {out, in.logprobs.grad()};
}

const double kUp = std::exp(0.5), kDown = std::exp(-0.5);

TEST(PolicyLoss, ClipsOnTheSideOfTheAdvantage) {
  PolicyLossConfig config;
  config.surrogate.epsilon_high = 0.3;
  const ByHand good = two_tokens(2.0, config);
  EXPECT_NEAR(good.out.loss.item<double>(), -(2 * 1.3 + 2 * kDown) / 2, 1e-12);
  EXPECT_TRUE(at::allclose(good.grad, at::tensor({0.0, -kDown}, at::kDouble)));
  EXPECT_EQ(good.out.clip_high, 1.0);
  EXPECT_EQ(good.out.clip_low, 0.0);
  const ByHand bad = two_tokens(-2.0, config);
  EXPECT_NEAR(bad.out.loss.item<double>(), (2 * kUp + 2 * 0.8) / 2, 1e-12);
  EXPECT_TRUE(at::allclose(bad.grad, at::tensor({kUp, 0.0}, at::kDouble)));
  EXPECT_EQ(bad.out.clip_high, 0.0);
  EXPECT_EQ(bad.out.clip_low, 1.0);
}

TEST(PolicyLoss, DeltaBoundsWhatANegativeAdvantageCanDo) {
  PolicyLossConfig config;
  config.surrogate.delta = 1.5;
  const ByHand bad = two_tokens(-2.0, config);
  EXPECT_NEAR(bad.out.loss.item<double>(), (2 * 1.5 + 2 * 0.8) / 2, 1e-12);
  EXPECT_TRUE(at::allclose(bad.grad, at::zeros({2}, at::kDouble)));
}

// With one ratio per completion the clips are shares of completions, and a mean ratio of 1 has
// none.
TEST(PolicyLoss, SequenceRatiosAreClippedAsAWhole) {
  PolicyLossConfig config;
  config.importance_sampling_level = Level::kSequence;
  config.loss_type = LossType::kGrpo;
  const ByHand even = two_tokens(2.0, config);
  EXPECT_NEAR(even.out.loss.item<double>(), -2.0, 1e-12);
  EXPECT_TRUE(at::allclose(even.grad, at::tensor({-1.0, -1.0}, at::kDouble)));
  EXPECT_EQ(even.out.clip_high, 0.0);
}

// RLOO: the tokens' ratios multiplied, and every token moves the completion by the whole of it.
TEST(PolicyLoss, RlooHasTheRatioOfTheWholeCompletion) {
  PolicyLossConfig config;
  config.importance_sampling_level = Level::kSequence;
  config.loss_type = LossType::kRloo;
  const ByHand even = two_tokens(2.0, config);
  EXPECT_NEAR(even.out.loss.item<double>(), -2.0, 1e-12);
  EXPECT_TRUE(at::allclose(even.grad, at::tensor({-2.0, -2.0}, at::kDouble)));
}

// Completions of 2 and 1 tokens, one of three ratios above the range.
TEST(PolicyLoss, ExtremesOfClipsAreOfCompletions) {
  const auto options = at::TensorOptions().dtype(at::kDouble);
  PolicyInputs in;
  in.lengths = {2, 1};
  in.logprobs = at::tensor({-0.5, -1.0, -1.0}, options).requires_grad_();
  in.old_logprobs = at::full({3}, -1.0, options);
  in.advantages = at::ones({3}, options);
  const PolicyLoss out = policy_loss(
      in, {.tokens = 3, .completions = 2, .selected = 3, .max_completion_length = 9}, {});
  EXPECT_EQ(out.clip_high, 1.0);
  EXPECT_EQ(out.clip_high_max, 0.5);
  EXPECT_EQ(out.clip_low_min, 0.0);
}

TEST(PolicyLoss, CispoCountsWhatItCaps) {
  PolicyLossConfig config;
  config.loss_type = LossType::kCispo;
  config.surrogate.epsilon_high = 1.2;
  const ByHand good = two_tokens(2.0, config);
  EXPECT_EQ(good.out.clip_high, 1.0);
  // The capped token still learns: its weight is the cap.
  EXPECT_TRUE(at::allclose(good.grad, at::tensor({-1.2, -kDown}, at::kDouble)));
}

// A rank may be left without completions in a step.
TEST(PolicyLoss, EmptyMicroBatchAddsNothing) {
  for (const auto& [name, type] : kTypes) {
    PolicyInputs in;
    in.logprobs = at::empty({0}).requires_grad_();
    in.old_logprobs = in.ref_logprobs = in.sampling_logprobs = in.advantages = at::empty({0});
    in.entropy = at::empty({0}).requires_grad_();
    PolicyLossConfig config;
    config.loss_type = type;
    config.kl.beta = 0.1;
    config.entropy_coef = 0.1;
    config.correction.enabled = true;
    config.surrogate.epsilon_high = 5.0;
    const PolicyLoss out = policy_loss(
        in, {.tokens = 5, .completions = 2, .selected = 5, .max_completion_length = 9}, config);
    EXPECT_EQ(out.loss.item<double>(), 0.0) << name;
    EXPECT_EQ(out.kl, 0.0);
  }
}

TEST(EntropyThreshold, IsAnInterpolatedQuantile) {
  const std::vector<float> entropies = {4, 1, 3, 2, 0};
  EXPECT_DOUBLE_EQ(entropy_threshold(entropies, 1.0), 0.0);
  EXPECT_DOUBLE_EQ(entropy_threshold(entropies, 0.0), 4.0);
  EXPECT_DOUBLE_EQ(entropy_threshold(entropies, 0.5), 2.0);
  EXPECT_DOUBLE_EQ(entropy_threshold(entropies, 0.3), 2.8);
  EXPECT_EQ(entropy_threshold({}, 0.5), std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace limbic::rl
