#include "trainer/optim/adamw.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/temp_folder.h"
#include "tests/unit/optim/golden.h"
#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::optim {
namespace {

AdamwConfig config_of(const Json& run) {
  return {.adam_beta1 = run.at("beta1").get<double>(),
          .adam_beta2 = run.at("beta2").get<double>(),
          .adam_epsilon = run.at("eps").get<double>(),
          .weight_decay = run.at("weight_decay").get<double>()};
}

// Both implementations.
class Adamws : public ::testing::TestWithParam<Math> {
 protected:
  static Adamw make(const AdamwConfig& config, std::int64_t size) {
    return Adamw(config, size, at::kCPU, GetParam());
  }
  static double norm_of(const at::Tensor& flat) { return l2_norm(flat, GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Maths, Adamws, ::testing::Values(Math::kKernels, Math::kAten),
                         [](const auto& math) {
                           return std::string(math.param == Math::kKernels ? "Kernels" : "Aten");
                         });

void expect_near(const at::Tensor& got, const at::Tensor& want, const std::string& what) {
  EXPECT_TRUE(at::allclose(got, want, 2e-6, 1e-7))
      << what << ": differs by " << (got - want).abs().max().item<double>();
}

TEST_P(Adamws, StepsAreThoseOfTorch) {
  for (const Json& run : golden("adamw")) {
    const std::string name = run.at("name").get<std::string>();
    const auto max_norm = run.at("max_norm").get<double>();
    at::Tensor weight = floats(run.at("start"));
    Adamw adamw = make(config_of(run), weight.numel());
    for (const Json& step : run.at("steps")) {
      const at::Tensor gradient = floats(step.at("gradient"));
      const double norm = norm_of(gradient);
      EXPECT_NEAR(norm, step.at("norm").get<double>(), 1e-6 * norm) << name;
      adamw.step(weight, gradient, step.at("rate").get<double>(), clip_factor(norm, max_norm));
      const std::string what = name + " step " + std::to_string(adamw.steps);
      expect_near(weight, floats(step.at("weight")), what + " weight");
      expect_near(adamw.first_moment, floats(step.at("first")), what + " first moment");
      expect_near(adamw.second_moment, floats(step.at("second")), what + " second moment");
    }
    EXPECT_EQ(adamw.steps, static_cast<std::int64_t>(run.at("steps").size()));
  }
}

TEST_P(Adamws, FirstStepMovesEveryWeightByTheRateAgainstTheSign) {
  at::Tensor weight = at::zeros({3});
  const at::Tensor gradient = at::tensor({0.5f, -20.0f, 3.0f});
  Adamw adamw = make({}, 3);
  adamw.step(weight, gradient, 0.01, 1.0);
  EXPECT_TRUE(at::allclose(weight, at::tensor({-0.01f, 0.01f, -0.01f}), 1e-5));
  EXPECT_TRUE(at::equal(gradient, at::tensor({0.5f, -20.0f, 3.0f})));
}

TEST_P(Adamws, RestoredStateContinuesBitForBit) {
  at::Tensor weight = at::linspace(-1, 1, 101);
  const at::Tensor gradient = at::linspace(3, -2, 101);
  const AdamwConfig config{.weight_decay = 0.1};
  Adamw first = make(config, 101);
  first.step(weight, gradient, 0.1, 1.0);
  at::Tensor copy = weight.clone();
  Adamw second = make(config, 101);
  second.first_moment.copy_(first.first_moment);
  second.second_moment.copy_(first.second_moment);
  second.steps = first.steps;
  first.step(weight, gradient, 0.1, 0.5);
  second.step(copy, gradient, 0.1, 0.5);
  EXPECT_TRUE(at::equal(weight, copy));
}

// The flat buffer is cut anywhere between ranks; no element may depend on its neighbours.
TEST_P(Adamws, PiecesUpdateLikeTheWhole) {
  at::Tensor whole = at::linspace(-2, 2, 131'075);
  at::Tensor parts = whole.clone();
  const at::Tensor gradient = whole.sin();
  Adamw adamw = make({.weight_decay = 0.01}, whole.numel());
  adamw.step(whole, gradient, 0.1, 0.7);
  const std::int64_t cuts[] = {0, 1, 65'537, 131'075};
  for (int i = 0; i < 3; ++i) {
    Adamw part = make({.weight_decay = 0.01}, cuts[i + 1] - cuts[i]);
    part.step(parts.slice(0, cuts[i], cuts[i + 1]), gradient.slice(0, cuts[i], cuts[i + 1]), 0.1,
              0.7);
  }
  EXPECT_TRUE(at::allclose(whole, parts, 1e-6, 0.0));
}

TEST_P(Adamws, BuffersOfDifferentSizesAreABug) {
  Adamw adamw = make({}, 4);
  EXPECT_THROW(adamw.step(at::zeros({4}), at::zeros({3}), 0.1, 1.0), std::logic_error);
  EXPECT_THROW(adamw.step(at::zeros({5}), at::zeros({5}), 0.1, 1.0), std::logic_error);
}

// A decay of 1 would divide by 1 - 1 in the first step; torch refuses it as well.
TEST(Adamw, DecayOfOneIsRefused) {
  for (const char* key : {"adam_beta1", "adam_beta2"}) {
    AdamwConfig config;
    const auto document = YamlDocument::parse(std::string(key) + ": 1.0\n", "run.yaml");
    const std::string message = test::message_of<ConfigError>([&] { document.read(config); });
    EXPECT_NE(message.find(key), std::string::npos) << message;
  }
}

TEST_P(Adamws, NormSumsInDoubleOverBlocks) {
  EXPECT_EQ(norm_of(at::empty({0})), 0.0);
  EXPECT_DOUBLE_EQ(norm_of(at::tensor({3.0f, -4.0f})), 5.0);
  const at::Tensor ones = at::ones({200'003});
  EXPECT_DOUBLE_EQ(norm_of(ones), std::sqrt(200'003.0));
  // In float the small squares would vanish beside the large one.
  at::Tensor mixed = at::full({70'000}, 1e-2f);
  mixed[5] = 1e4f;
  const double small = 1e-2f;
  EXPECT_NEAR(norm_of(mixed), std::sqrt(1e8 + 69'999 * small * small), 1e-8);
}

TEST(ClipFactor, IsThatOfTorch) {
  EXPECT_DOUBLE_EQ(clip_factor(10.0, 1.0), 1.0 / (10.0 + 1e-6));
  EXPECT_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_EQ(clip_factor(0.0, 1.0), 1.0);
  EXPECT_EQ(clip_factor(1e9, 0.0), 1.0);
  // At the bound torch scales by a little less than one.
  EXPECT_DOUBLE_EQ(clip_factor(1.0, 1.0), 1.0 / (1.0 + 1e-6));
}

// A broken gradient must not pass as one that needs no clipping.
TEST(ClipFactor, NormThatIsNotANumberStaysSo) {
  EXPECT_TRUE(std::isnan(clip_factor(std::nan(""), 1.0)));
  EXPECT_EQ(clip_factor(INFINITY, 1.0), 0.0);
}

}  // namespace
}  // namespace limbic::optim
