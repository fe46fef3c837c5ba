#include "rl/eval/preference_bias.h"

#include <gtest/gtest.h>

#include "rl/eval/report.h"
#include "trainer/base/file.h"

namespace limbic::eval {
namespace {

using Counts = std::vector<std::vector<double>>;

// The published figures, to all their digits; see make_esc_bias.py for the answers.
TEST(GoldenNumbers, PreferenceBias) {
  const Json data =
      Json::parse(read_file(std::string(LIMBIC_SOURCE_DIR) + "/tests/unit/rl/esc_bias.json"));
  const auto labels = data["labels"].get<std::vector<std::string>>();
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    for (std::size_t j = 0; j < labels.size(); ++j) {
      answers.insert(answers.end(), data["given"][i][j].get<std::size_t>(), {labels[j], labels[i]});
    }
  }
  ASSERT_EQ(answers.size(), 1611u);
  const Json report =
      to_json(report_of(answers, labels, {"accuracy", "macro_f1", "weighted_f1", "esc_bias"}));
  EXPECT_NEAR(report["accuracy"].get<double>(), 0.2446, 5e-5);
  EXPECT_NEAR(report["macro_f1"].get<double>(), 0.2189, 5e-5);
  EXPECT_NEAR(report["weighted_f1"].get<double>(), 0.2250, 5e-5);
  EXPECT_NEAR(report["esc_bias"].get<double>(), 0.7666, 5e-5);
  EXPECT_NEAR(report["esc_bias"].get<double>(), data["bias"].get<double>(), 1e-12);
  const double published[] = {.632, .310, 1.021, .479, 2.536, 1.915, .219, .888};
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const double preference = report["per_label"][labels[i]]["preference"].get<double>();
    EXPECT_NEAR(preference, published[i], 5e-4) << labels[i];
    EXPECT_NEAR(preference, data["preferences"][i].get<double>(), 1e-12) << labels[i];
  }
}

TEST(GoldenNumbers, PreferenceBiasOfPerfectAnswers) {
  const auto bias = preference_bias(Counts(8, std::vector<double>(8, 0.0)));
  ASSERT_TRUE(bias.has_value());
  EXPECT_EQ(bias->bias, 0.0);
  EXPECT_EQ(bias->preferences, std::vector<double>(8, 1.0));
}

// Two labels: p_1 / p_2 = W_12 / W_21, whatever stands on the diagonal.
TEST(PreferenceBias, OfTwoLabelsIsTheRatioOfTheirConfusions) {
  const auto bias = preference_bias({{9, 4}, {1, 2}});
  ASSERT_TRUE(bias.has_value());
  EXPECT_NEAR(bias->preferences[0], 1.6, 1e-12);
  EXPECT_NEAR(bias->preferences[1], 0.4, 1e-12);
  EXPECT_NEAR(bias->bias, 0.6, 1e-12);
}

TEST(PreferenceBias, ALabelWithoutConfusionsStaysAtOne) {
  const auto bias = preference_bias({{0, 0, 4}, {0, 7, 0}, {1, 0, 0}});
  ASSERT_TRUE(bias.has_value());
  EXPECT_NEAR(bias->preferences[0], 1.6, 1e-12);
  EXPECT_EQ(bias->preferences[1], 1.0);
  EXPECT_NEAR(bias->preferences[2], 0.4, 1e-12);
}

// The third label is never given where it is wrong.
TEST(PreferenceBias, ALabelThatIsNeverGivenHasNone) {
  const auto bias = preference_bias({{0, 2, 1}, {2, 0, 1}, {0, 0, 0}});
  ASSERT_TRUE(bias.has_value());
  EXPECT_EQ(bias->preferences[2], 0.0);
  EXPECT_NEAR(bias->preferences[0], 1.5, 1e-6);
  EXPECT_NEAR(bias->preferences[1], 1.5, 1e-6);
}

TEST(PreferenceBias, IsNotDefinedWithoutAFinitePreference) {
  EXPECT_FALSE(preference_bias({{5, 3}, {0, 5}}).has_value());
  EXPECT_FALSE(preference_bias({{0, 3, 3}, {0, 0, 3}, {0, 0, 0}}).has_value());
}

}  // namespace
}  // namespace limbic::eval
