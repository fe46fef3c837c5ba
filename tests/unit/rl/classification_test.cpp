#include "rl/eval/classification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trainer/base/fields.h"
#include "trainer/base/file.h"

namespace limbic::eval {
namespace {

using testing::ElementsAre;

const std::vector<std::string> kLabels = {"joy", "anger", "sad"};

// anger: 3 rows, 2 found; joy: 3 rows, 1 found; sad: not in the data, given once; one answer is no
// label.
Classification by_hand() {
  return classify({{"anger", "anger"},
                   {"anger", "anger"},
                   {"anger", "joy"},
                   {"joy", "joy"},
                   {"joy", "sad"},
                   {"joy", "happy"}},
                  kLabels);
}

TEST(Classification, ByHand) {
  const Classification c = by_hand();
  EXPECT_EQ(c.rows, 6);
  EXPECT_THAT(c.labels, ElementsAre("anger", "joy", "sad"));
  const LabelFigures& anger = c.by_label.at("anger");
  EXPECT_EQ(anger.support, 3);
  EXPECT_DOUBLE_EQ(anger.precision, 1.0);
  EXPECT_DOUBLE_EQ(anger.recall, 2.0 / 3.0);
  EXPECT_DOUBLE_EQ(anger.f1, 0.8);
  const LabelFigures& joy = c.by_label.at("joy");
  EXPECT_EQ(joy.support, 3);
  EXPECT_DOUBLE_EQ(joy.precision, 0.5);
  EXPECT_DOUBLE_EQ(joy.recall, 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(joy.f1, 0.4);
  const LabelFigures& sad = c.by_label.at("sad");
  EXPECT_EQ(sad.support, 0);
  EXPECT_EQ(sad.precision, 0.0);
  EXPECT_EQ(sad.recall, 0.0);
  EXPECT_EQ(sad.f1, 0.0);
  EXPECT_DOUBLE_EQ(c.figures.at("accuracy"), 0.5);
  EXPECT_DOUBLE_EQ(c.figures.at("war"), 0.5);
  EXPECT_DOUBLE_EQ(c.figures.at("macro_f1"), 0.6);       // of anger and joy
  EXPECT_DOUBLE_EQ(c.figures.at("uar"), 0.5);            // 2/3 and 1/3
  EXPECT_DOUBLE_EQ(c.figures.at("weighted_f1"), 0.6);    // 0.8 * 3/6 + 0.4 * 3/6
  EXPECT_DOUBLE_EQ(c.figures.at("micro_f1"), 6.0 / 11);  // precision 3/5, recall 3/6
  EXPECT_DOUBLE_EQ(c.figures.at("invalid"), 1.0 / 6.0);
  EXPECT_EQ(c.count("joy", "happy"), 1);
  EXPECT_EQ(c.count("joy", "anger"), 0);
  EXPECT_EQ(c.count("sad", "joy"), 0);
}

TEST(Classification, EqualsScikitLearn) {
  const Json cases =
      Json::parse(read_file(std::string(LIMBIC_SOURCE_DIR) + "/tests/unit/rl/classification.json"));
  ASSERT_GE(cases.size(), 8u);
  for (const Json& want : cases) {
    const std::string name = want["name"];
    std::vector<Answer> answers;
    for (const Json& pair : want["answers"]) answers.push_back({pair[0], pair[1]});
    const auto labels = want["labels"].get<std::vector<std::string>>();
    const Classification got = classify(answers, labels);
    for (const auto& [figure, value] : want["figures"].items()) {
      EXPECT_NEAR(got.figures.at(figure), value.get<double>(), 1e-12) << name << ": " << figure;
    }
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const LabelFigures& figures = got.by_label.at(labels[i]);
      const Json& right = want["by_label"][labels[i]];
      EXPECT_NEAR(figures.precision, right[0].get<double>(), 1e-12) << name << ": " << labels[i];
      EXPECT_NEAR(figures.recall, right[1].get<double>(), 1e-12) << name << ": " << labels[i];
      EXPECT_NEAR(figures.f1, right[2].get<double>(), 1e-12) << name << ": " << labels[i];
      EXPECT_EQ(figures.support, right[3].get<std::int64_t>()) << name << ": " << labels[i];
      for (std::size_t j = 0; j < labels.size(); ++j) {
        auto confusion = got.confusion;  // its operator[] gives 0 for what did not happen
        EXPECT_EQ(confusion[labels[i]][labels[j]], want["confusion"][i][j].get<std::int64_t>())
            << name << ": " << labels[i] << " as " << labels[j];
      }
    }
  }
}

TEST(Classification, ALabelNamedTwiceCountsOnce) {
  EXPECT_THAT(classify({{"a", "a"}}, {"b", "a", "a"}).labels, ElementsAre("a", "b"));
}

TEST(Classification, NoAnswersAreAMistakeOfTheCaller) {
  EXPECT_THROW(classify({}, kLabels), std::logic_error);
}

// Recalls 2/3 of a and 1 of b.
TEST(GoldenNumbers, WeightedAndUnweightedRecall) {
  const Classification c = classify({{"a", "a"}, {"a", "a"}, {"a", "b"}, {"b", "b"}}, {"a", "b"});
  EXPECT_DOUBLE_EQ(c.figures.at("war"), 0.75);
  EXPECT_NEAR(c.figures.at("uar"), 0.8333, 5e-5);
}

}  // namespace
}  // namespace limbic::eval
