#include "rl/eval/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace limbic::eval {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::vector<std::string> kLabels = {"joy", "anger", "sad"};

// anger: 3 rows, 2 found; joy: 3 rows, 1 found; sad: not in the data, given once; one answer is no
// label.
Report by_hand(const std::vector<std::string>& metrics) {
  return report_of({{"anger", "anger"},
                    {"anger", "anger"},
                    {"anger", "joy"},
                    {"joy", "joy"},
                    {"joy", "sad"},
                    {"joy", "happy"}},
                   kLabels, metrics);
}

TEST(Report, MetricsHaveNames) {
  for (const std::string& name : metric_names()) {
    EXPECT_TRUE(is_metric(name));
    EXPECT_NO_THROW(to_json(by_hand({name}))) << name;
    EXPECT_NO_THROW(to_text(by_hand({name}))) << name;
  }
  EXPECT_FALSE(is_metric("f1"));
  EXPECT_FALSE(is_metric(""));
}

TEST(Report, OnlyMmeReadsNoLabels) {
  EXPECT_TRUE(need_labels({}));
  EXPECT_TRUE(need_labels({"accuracy"}));
  EXPECT_TRUE(need_labels({"mme", "uar"}));
  EXPECT_FALSE(need_labels({"mme"}));
}

TEST(Report, NoAnswersAreAMistakeOfTheCaller) {
  EXPECT_THROW(report_of({}, kLabels, {"accuracy"}), std::logic_error);
  EXPECT_THROW(report_of({}, {}, {"mme"}), std::logic_error);
}

TEST(Report, JsonHoldsWhatWasAskedFor) {
  const Json plain = to_json(by_hand({"accuracy", "uar"}));
  EXPECT_EQ(plain["rows"], 6);
  EXPECT_EQ(plain["accuracy"], 0.5);
  EXPECT_EQ(plain["uar"], 0.5);
  EXPECT_FALSE(plain.contains("macro_f1"));
  EXPECT_FALSE(plain.contains("confusion"));
  EXPECT_EQ(plain["labels"], Json({"anger", "joy", "sad"}));
  EXPECT_EQ(plain["per_label"].size(), 3u);
  EXPECT_EQ(plain["per_label"]["joy"]["precision"], 0.5);
  EXPECT_EQ(plain["per_label"]["sad"]["support"], 0);
  const Json full = to_json(by_hand({"confusion"}));
  EXPECT_EQ(full["confusion"], Json::parse(R"({"anger": {"anger": 2, "joy": 1},
                                              "joy": {"happy": 1, "joy": 1, "sad": 1}})"));
}

TEST(Report, TextIsATable) {
  EXPECT_EQ(to_text(by_hand({"accuracy", "macro_f1", "confusion"})),
            "accuracy       50.0 %\n"
            "macro_f1       60.0 %\n"
            "no label       16.7 %\n"
            "\n"
            "label  precision  recall     f1  rows\n"
            "anger      1.000   0.667  0.800     3\n"
            "joy        0.500   0.333  0.400     3\n"
            "sad        0.000   0.000  0.000     0\n"
            "\n"
            "right\\given  anger    joy    sad  other\n"
            "anger            2      1      0      0\n"
            "joy              0      1      1      1\n");
  EXPECT_THAT(to_text(report_of({{"a", "a"}}, {"a"}, {"accuracy"})), Not(HasSubstr("no label")));
}

TEST(Report, MetricsOfTheLogHaveAPrefix) {
  const Report report = report_of({{"a", "a"}, {"b", "c"}}, {"a", "b"}, {"accuracy", "confusion"});
  EXPECT_EQ(to_metrics(report),
            Json({{"eval_accuracy", 0.5}, {"eval_rows", 2}, {"eval_invalid", 0.5}}));
}

// a is given for b four times and missed for it once: preferences 1.6 and 0.4.
TEST(Report, BiasBringsPreferences) {
  const std::vector<Answer> answers = {{"b", "a"}, {"b", "a"}, {"b", "a"}, {"b", "a"}, {"a", "b"}};
  const Report report = report_of(answers, {"a", "b"}, {"esc_bias"});
  const Json json = to_json(report);
  EXPECT_NEAR(json["esc_bias"].get<double>(), 0.6, 1e-12);
  EXPECT_NEAR(json["per_label"]["a"]["preference"].get<double>(), 1.6, 1e-12);
  EXPECT_EQ(to_text(report),
            "esc_bias       0.6000\n"
            "\n"
            "label  precision  recall     f1  rows  preference\n"
            "a          0.000   0.000  0.000     1       1.600\n"
            "b          0.000   0.000  0.000     4       0.400\n");
}

TEST(Report, WhatIsNotDefinedIsNull) {
  const Report report = report_of({{"b", "a"}, {"a", "a"}}, {"a", "b"}, {"esc_bias", "mme"});
  const Json json = to_json(report);
  EXPECT_TRUE(json["esc_bias"].is_null());
  EXPECT_FALSE(json["per_label"]["a"].contains("preference"));
  EXPECT_TRUE(json["mme_cot"].is_null());
  EXPECT_EQ(json["mme_skipped"], 1.0);
  EXPECT_TRUE(to_metrics(report)["eval_esc_bias"].is_null());
  EXPECT_THAT(to_text(report), HasSubstr("esc_bias     not defined\n"));
}

TEST(Report, JudgedStepsNeedNoLabels) {
  const std::vector<Answer> answers = {{.gold = "", .predicted = "", .text = "Step 1: 1/1"},
                                       {.gold = "", .predicted = "", .text = "no score"}};
  const Report report = report_of(answers, {}, {"mme"});
  EXPECT_EQ(to_json(report), Json({{"rows", 2},
                                   {"mme_rec", 1.0},
                                   {"mme_rea", 0.0},
                                   {"mme_cot", 0.5},
                                   {"mme_skipped", 0.5}}));
  EXPECT_EQ(to_text(report),
            "mme_rec       100.0 %\n"
            "mme_rea         0.0 %\n"
            "mme_cot        50.0 %\n"
            "mme_skipped    50.0 %\n");
}

}  // namespace
}  // namespace limbic::eval
