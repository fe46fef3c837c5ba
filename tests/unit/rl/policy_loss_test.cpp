// The loss against TRL's own code (make_golden.py) and against itself cut into micro-batches.
#include "rl/policy_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "trainer/base/fields.h"
#include "trainer/base/file.h"

namespace limbic::rl {
namespace {

const std::map<std::string, LossType> kTypes = {{"grpo", LossType::kGrpo},
                                                {"bnpo", LossType::kBnpo},
                                                {"dr_grpo", LossType::kDrGrpo},
                                                {"dapo", LossType::kDapo}};

class PolicyLossGolden : public ::testing::Test {
 protected:
  PolicyLossGolden()
      : golden_(Json::parse(read_file(LIMBIC_SOURCE_DIR "/tests/unit/rl/golden.json"))) {
    const auto lengths = golden_.at("lengths").get<std::vector<std::int64_t>>();
    std::int64_t tokens = 0;
    for (const std::int64_t length : lengths) {
      offsets_.push_back(tokens);
      tokens += length;
    }
    offsets_.push_back(tokens);
    totals_ = {.tokens = static_cast<double>(tokens),
               .completions = static_cast<double>(lengths.size()),
               .max_completion_length = golden_.at("max_length").get<double>()};
  }

  at::Tensor floats(const Json& list) const {
    return at::tensor(list.get<std::vector<double>>(), at::TensorOptions().dtype(at::kDouble))
        .to(at::kFloat);
  }

  // Completions [first, last).
  PolicyInputs inputs(const Json& run, std::size_t first, std::size_t last) const {
    const auto cut = [&](const char* name) {
      return floats(golden_.at(name)).slice(0, offsets_[first], offsets_[last]).clone();
    };
    PolicyInputs out;
    out.logprobs = cut("logprobs").requires_grad_();
    if (run.at("old").get<bool>()) out.old_logprobs = cut("old_logprobs");
    if (run.at("beta").get<double>() > 0.0) out.ref_logprobs = cut("ref_logprobs");
    std::vector<float> advantages;
    std::vector<float> lengths;
    for (std::size_t c = first; c < last; ++c) {
      const std::int64_t length = offsets_[c + 1] - offsets_[c];
      advantages.insert(advantages.end(), static_cast<std::size_t>(length),
                        golden_.at("advantages").at(c).get<float>());
      lengths.insert(lengths.end(), static_cast<std::size_t>(length), static_cast<float>(length));
    }
    out.advantages = at::tensor(advantages);
    out.lengths = at::tensor(lengths);
    return out;
  }

  static PolicyLossConfig config_of(const Json& run) {
    PolicyLossConfig config;
    config.loss_type = kTypes.at(run.at("loss_type").get<std::string>());
    config.epsilon = run.at("epsilon").get<double>();
    config.beta = run.at("beta").get<double>();
    const auto high = run.at("epsilon_high").get<double>();
    if (high != config.epsilon) config.epsilon_high = high;
    return config;
  }

  static std::string name_of(const Json& run) {
    Json brief = run;
    brief.erase("gradient");
    return brief.dump();
  }

  Json golden_;
  std::vector<std::int64_t> offsets_;
  StepTotals totals_;
};

TEST_F(PolicyLossGolden, LossGradientsAndCountsAreThoseOfTrl) {
  ASSERT_EQ(golden_.at("cases").size(), 20u);
  for (const Json& run : golden_.at("cases")) {
    const PolicyInputs in = inputs(run, 0, offsets_.size() - 1);
    const PolicyLoss out = policy_loss(in, totals_, config_of(run));
    EXPECT_NEAR(out.loss.item<double>(), run.at("loss").get<double>(), 1e-6) << name_of(run);
    out.loss.backward();
    const at::Tensor want = floats(run.at("gradient"));
    EXPECT_TRUE(at::allclose(in.logprobs.grad(), want, 1e-5, 1e-7)) << name_of(run) << "\n"
                                                                    << in.logprobs.grad() - want;
    EXPECT_NEAR(out.kl, run.at("kl").get<double>(), 1e-5) << name_of(run);
    EXPECT_EQ(out.clip_low, run.at("clip_low").get<double>()) << name_of(run);
    EXPECT_EQ(out.clip_high, run.at("clip_high").get<double>()) << name_of(run);
  }
}

// The numbers must reach both sides of the clip, else the test above proves little.
TEST_F(PolicyLossGolden, NumbersReachBothClips) {
  double low = 0.0;
  double high = 0.0;
  for (const Json& run : golden_.at("cases")) {
    low += run.at("clip_low").get<double>();
    high += run.at("clip_high").get<double>();
  }
  EXPECT_GT(low, 0.0);
  EXPECT_GT(high, 0.0);
}

TEST_F(PolicyLossGolden, CutIntoMicroBatchesIsTheSameStep) {
  for (const Json& run : golden_.at("cases")) {
    const PolicyLossConfig config = config_of(run);
    const PolicyInputs whole = inputs(run, 0, 4);
    const PolicyLoss one = policy_loss(whole, totals_, config);
    one.loss.backward();
    for (const auto& cuts : std::vector<std::vector<std::size_t>>{{0, 1, 2, 3, 4}, {0, 3, 4}}) {
      double loss = 0.0, kl = 0.0, low = 0.0, high = 0.0;
      std::vector<at::Tensor> gradients;
      for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        const PolicyInputs part = inputs(run, cuts[i], cuts[i + 1]);
        const PolicyLoss out = policy_loss(part, totals_, config);
        out.loss.backward();
        loss += out.loss.item<double>();
        kl += out.kl;
        low += out.clip_low;
        high += out.clip_high;
        gradients.push_back(part.logprobs.grad());
      }
      EXPECT_NEAR(loss, one.loss.item<double>(), 1e-6) << name_of(run);
      EXPECT_NEAR(kl, one.kl, 1e-5);
      EXPECT_EQ(low, one.clip_low);
      EXPECT_EQ(high, one.clip_high);
      EXPECT_TRUE(at::equal(at::cat(gradients), whole.logprobs.grad())) << name_of(run);
    }
  }
}

// By hand: one completion of two tokens, ratio e^0.5 and e^-0.5, epsilon 0.2 below and 0.3 above.
TEST(PolicyLoss, ClipsOnTheSideOfTheAdvantage) {
  const auto run = [](float advantage) {
    PolicyInputs in{.logprobs = at::tensor({-0.5f, -1.5f}).requires_grad_(),
                    .old_logprobs = at::tensor({-1.0f, -1.0f}),
                    .ref_logprobs = {},
                    .advantages = at::full({2}, advantage),
                    .lengths = at::full({2}, 2.0f)};
    PolicyLossConfig config;
    config.epsilon_high = 0.3;
    const PolicyLoss out =
        policy_loss(in, {.tokens = 2, .completions = 1, .max_completion_length = 9}, config);
    out.loss.backward();
    return std::pair(out, in.logprobs.grad());
  };
  const double up = std::exp(0.5);
  const double down = std::exp(-0.5);
  const auto [good, good_grad] = run(2.0f);
  EXPECT_NEAR(good.loss.item<double>(), -(2 * 1.3 + 2 * down) / 2, 1e-6);
  EXPECT_TRUE(at::allclose(good_grad, at::tensor({0.0f, static_cast<float>(-down)})));
  EXPECT_EQ(good.clip_high, 1.0);
  EXPECT_EQ(good.clip_low, 0.0);
  const auto [bad, bad_grad] = run(-2.0f);
  EXPECT_NEAR(bad.loss.item<double>(), (2 * up + 2 * 0.8) / 2, 1e-6);
  EXPECT_TRUE(at::allclose(bad_grad, at::tensor({static_cast<float>(up), 0.0f})));
  EXPECT_EQ(bad.clip_high, 0.0);
  EXPECT_EQ(bad.clip_low, 1.0);
}

// A rank may be left without completions in a step.
TEST(PolicyLoss, EmptyMicroBatchAddsNothing) {
  for (const auto& [name, type] : kTypes) {
    const PolicyInputs in{.logprobs = at::empty({0}).requires_grad_(),
                          .old_logprobs = at::empty({0}),
                          .ref_logprobs = at::empty({0}),
                          .advantages = at::empty({0}),
                          .lengths = at::empty({0})};
    PolicyLossConfig config;
    config.loss_type = type;
    config.beta = 0.1;
    const PolicyLoss out =
        policy_loss(in, {.tokens = 5, .completions = 2, .max_completion_length = 9}, config);
    EXPECT_EQ(out.loss.item<double>(), 0.0) << name;
    EXPECT_EQ(out.kl, 0.0);
  }
}

}  // namespace
}  // namespace limbic::rl
