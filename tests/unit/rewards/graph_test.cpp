#include "rewards/graph.h"

#include <gtest/gtest.h>

#include "rewards/local_scorer.h"
#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

// Terms of a fixed value: every row lacks their column, so that `missing` decides.
std::string constant(const std::string& name, const std::string& value,
                     const std::string& more = "") {
  return "{name: " + name + ", type: label, column: none_" + name + ", missing: " + value + more +
         "}";
}
std::string not_applicable(const std::string& name, const std::string& more = "") {
  return constant(name, "not_applicable", more);
}
std::string combination(const std::string& how, const std::string& terms,
                        const std::string& more = "") {
  return "{combine: " + how + more + ", terms: [" + terms + "]}";
}

TEST(Graph, SumsWeightedValues) {
  EXPECT_NEAR(reward_of(combination("sum", constant("a", "0.5", ", weight: 0.2") + ", " +
                                               constant("b", "2", ", weight: 0.8")),
                        completion("")),
              1.7, 1e-12);
}

TEST(Graph, MultipliesAndTakesExtremesOfWeightedValues) {
  const std::string terms = constant("a", "0.5", ", weight: 4") + ", " + constant("b", "3");
  EXPECT_EQ(reward_of(combination("product", terms), completion("")), 6.0);
  EXPECT_EQ(reward_of(combination("max", terms), completion("")), 3.0);
  EXPECT_EQ(reward_of(combination("min", terms), completion("")), 2.0);
}

TEST(Graph, NestsCombinations) {
  const std::string inner = combination("product", constant("a", "2") + ", " + constant("b", "3"),
                                        ", name: inner, weight: 0.5");
  const Score score = score_of(combination("sum", inner + ", " + constant("c", "1"), ", weight: 2"),
                               completion(""));
  EXPECT_EQ(score.reward, 8.0);
  EXPECT_EQ(component_of(score, "inner").value, 6.0);
  EXPECT_EQ(score.components.size(), 4u);
}

TEST(Graph, WhatDoesNotApplyTakesNoPart) {
  const std::string terms = not_applicable("a") + ", " + constant("b", "-2", ", weight: 0.5");
  for (const char* how : {"sum", "product", "max", "min"}) {
    const Score score = score_of(combination(how, terms), completion(""));
    EXPECT_EQ(score.reward, -1.0) << how;
    EXPECT_EQ(component_of(score, "a").status, Status::kNotApplicable);
  }
}

// Weights 1, 3 and 4, of which the last does not apply: sum 1 + 6 = 7, times 8 / 4.
TEST(Graph, RescaleSharesTheMissingWeight) {
  EXPECT_EQ(reward_of(combination("sum",
                                  constant("a", "1") + ", " + constant("b", "2", ", weight: 3") +
                                      ", " + not_applicable("c", ", weight: 4"),
                                  ", rescale: true"),
                      completion("")),
            14.0);
}

TEST(Graph, IsNotApplicableWhenNothingApplies) {
  const Score score = score_of(combination("product", not_applicable("a")), completion(""));
  EXPECT_EQ(score.status, Status::kNotApplicable);
  EXPECT_FALSE(score.reward.has_value());
}

TEST(Graph, AClosedGateSkipsTheRestOfAProduct) {
  const Score score = score_of(combination("product", constant("before", "3") + ", " +
                                                          constant("format", "0", ", gate: true") +
                                                          ", " + constant("after", "5")),
                               completion(""));
  EXPECT_EQ(score.reward, 0.0);
  EXPECT_EQ(component_of(score, "before").value, 3.0);
  EXPECT_EQ(component_of(score, "after").status, Status::kNotApplicable);
  EXPECT_EQ(component_of(score, "after").detail, "gated");
}

TEST(Graph, AnOpenGateIsAnOrdinaryTerm) {
  EXPECT_EQ(reward_of(combination("product", constant("format", "1", ", gate: true") + ", " +
                                                 constant("after", "5")),
                      completion("")),
            5.0);
}

TEST(Graph, AFloorIsTheValueBehindAClosedGate) {
  const std::string gate = constant("format", "0", ", gate: true");
  EXPECT_EQ(reward_of(combination("sum", gate + ", " + constant("b", "2"),
                                  ", floor_on_fail: -5, clamp: [-1, 1]"),
                      completion("")),
            -5.0);
  const std::string inner = combination("product", gate + ", " + constant("b", "2"));
  const Score outer = score_of(
      combination("sum", inner + ", " + constant("c", "1"), ", floor_on_fail: -5"), completion(""));
  EXPECT_EQ(outer.reward, -5.0);
  EXPECT_EQ(component_of(outer, "c").detail, "gated");
}

TEST(Graph, AnInnerFloorIsCaughtOnce) {
  const std::string inner =
      combination("sum", constant("format", "0", ", gate: true") + ", " + constant("b", "2"),
                  ", floor_on_fail: -5");
  EXPECT_EQ(reward_of(combination("sum", inner + ", " + constant("c", "1")), completion("")), -4.0);
}

TEST(Graph, ClampsBeforeTheWeight) {
  EXPECT_EQ(reward_of(combination("sum", constant("a", "7", ", clamp: [-1, 2], weight: 3")),
                      completion("")),
            6.0);
}

TEST(Graph, WeightsFollowTheSteps) {
  const std::string graph =
      combination("sum", constant("a", "1", ", weights_over_steps: {0: 1.0, 200: 0.5}"));
  EXPECT_EQ(reward_of(graph, completion(""), 0), 1.0);
  EXPECT_EQ(reward_of(graph, completion(""), 199), 1.0);
  EXPECT_EQ(reward_of(graph, completion(""), 200), 0.5);
}

TEST(Graph, AFailedTermFailsTheWhole) {
  const std::string failing = "{name: bad, type: number, column: gold}";
  const Score score = score_of(combination("sum", failing + ", " + constant("a", "1")),
                               completion("3", {{"gold", "x"}}));
  EXPECT_EQ(score.status, Status::kFailed);
  EXPECT_FALSE(score.reward.has_value());
  EXPECT_EQ(component_of(score, "a").value, 1.0);
}

TEST(Graph, AnInfiniteValueIsAFailure) {
  const Score score = score_of(
      combination("product", constant("a", "1e200") + ", " + constant("b", "1e200"), ", name: p"),
      completion(""));
  EXPECT_EQ(score.status, Status::kFailed);
  EXPECT_EQ(component_of(score, "p").status, Status::kFailed);
  EXPECT_FALSE(component_of(score, "p").value.has_value());
}

TEST(Graph, ScoresEveryRowOfABatchByItself) {
  const Graph graph(
      graph_config("{combine: product, terms: [{name: format, type: tags, tags: [answer], gate: "
                   "true}, {name: emotion, type: label, column: label, region: answer}]}"),
      {});
  const std::vector<Completion> batch = {
      completion("<answer>joy</answer>", {{"label", "joy"}}), completion("joy", {{"label", "joy"}}),
      completion("<answer>fear</answer>", {{"label", "joy"}}), completion("<answer>fear</answer>")};
  const std::vector<Score> scores = graph.score(batch, 0);
  EXPECT_EQ(scores[0].reward, 1.0);
  EXPECT_EQ(scores[1].reward, 0.0);
  EXPECT_EQ(component_of(scores[1], "emotion").detail, "gated");
  EXPECT_EQ(scores[2].reward, 0.0);
  EXPECT_EQ(scores[3].reward, 1.0);
  EXPECT_EQ(component_of(scores[3], "emotion").status, Status::kNotApplicable);
  EXPECT_TRUE(graph.score({}, 0).empty());
}

TEST(Graph, NamesTheColumnsThatTheDataMustHave) {
  const LocalScorer scorer(
      graph_config("{combine: sum, terms: [{type: label, column: a}, {type: set, column: b, "
                   "missing: 0}, {name: again, type: label, column: a}, {type: tags, tags: [t]}]}"),
      {});
  EXPECT_EQ(scorer.required_columns(), std::vector<std::string>{"a"});
}

TEST(Graph, ItsHashCoversOptionsAndTables) {
  const auto hash = [](const std::string& yaml) { return Graph(graph_config(yaml), {}).hash(); };
  const std::string base = "{type: label, column: a, aliases: {joy: [happy]}}";
  EXPECT_EQ(hash(base), hash(base));
  EXPECT_NE(hash(base), hash("{type: label, column: b, aliases: {joy: [happy]}}"));
  EXPECT_NE(hash(base), hash("{type: label, column: a, aliases: {joy: [glad]}}"));
}

TEST(Graph, RefusesWhatCannotBeMeant) {
  EXPECT_EQ(config_error_of("{combine: sum, terms: [{type: tags, tags: [a]}, {type: tags, tags: "
                            "[b]}]}"),
            "rewards.graph: got the name 'tags' twice, want one per node; set `name`");
  EXPECT_EQ(config_error_of("{type: tags, tags: [a], missing: 0}"),
            "rewards.graph.missing: got a value for a term that reads no column of the row");
  EXPECT_EQ(config_error_of("{type: tags, tags: [a], gate: true}"),
            "rewards.graph.gate: got true on the outermost node, want it on a node inside");
}

TEST(GraphConfig, NamesFileLineAndPath) {
  EXPECT_EQ(config_error_of("{type: lable}"),
            "run.yaml:1: graph.type: got 'lable', want one of: tags, label, set, choice, number, "
            "regex, length, overlong, repetition, confidence, inconsistency, tiou, tree, "
            "remote, judge; did you mean 'label'?");
  EXPECT_NE(config_error_of("{type: group_rank}")
                .find("this version does not have the term 'group_rank' yet"),
            std::string::npos);
  EXPECT_EQ(config_error_of("{weight: 1}"),
            "run.yaml:1: graph.type: got both or neither of type and combine, want one of them");
  EXPECT_EQ(config_error_of("{combine: sum, terms: []}"),
            "run.yaml:1: graph.terms: got no terms, want at least one");
  EXPECT_EQ(config_error_of("{combine: sum, floor_on_fail: -1, terms: [{type: tags, tags: [a]}]}"),
            "run.yaml:1: graph.floor_on_fail: got a floor without a gate inside, want `gate: true` "
            "on a term");
  EXPECT_EQ(config_error_of("{type: tags, tags: [a], clamp: [2, 1]}"),
            "run.yaml:1: graph.clamp: got [2, 1], want low <= high");
}

TEST(GraphConfig, WritesWhatItReads) {
  GraphFile file{graph_config(
      "{combine: sum, rescale: true, terms: [{name: format, type: tags, weight: 0.2, tags: "
      "[think], "
      "nested: {think: [a]}, gate: true}, {type: label, column: label, class_weights: {joy: 0.5}, "
      "clamp: [0, 1], missing: 0.5}, {type: confidence, right: label, rule: rlcr}, {type: set, "
      "column: aus, affine: [2, -1]}, {type: inconsistency}, {type: length, max: 3}]}")};
  const std::string text = YamlWriter().write(file);
  GraphFile again;
  YamlDocument::parse(text, "resolved.yaml").read(again);
  EXPECT_EQ(YamlWriter().write(again), text);
  EXPECT_EQ(Graph(again.graph, {}).hash(), Graph(file.graph, {}).hash());
}

TEST(GraphConfig, IsDocumented) {
  const std::string table = MarkdownWriter().write(RewardsConfig());
  for (const char* key : {"class_weights", "floor_on_fail", "max_penalty", "unreachable_after_s"}) {
    EXPECT_NE(table.find(key), std::string::npos) << key;
  }
}

TEST(RewardsConfig, ReadsTheSectionOfAnExperiment) {
  RewardsConfig config;
  YamlDocument::parse(
      "workers: [\"127.0.0.1:50051\"]\ndeadline_s: 30\non_failure: drop_group\ngraph:\n  combine: "
      "sum\n  terms:\n    - {name: format, type: tags, weight: 0.2, tags: [think, answer], mode: "
      "ordered}\n    - {name: emotion, type: label, weight: 0.8, column: label, region: answer, "
      "aliases: ekman}\n",
      "run.yaml")
      .read(config);
  EXPECT_EQ(config.remote.workers, std::vector<std::string>{"127.0.0.1:50051"});
  EXPECT_EQ(config.on_failure, OnFailure::kDropGroup);
  config.remote.workers.clear();
  const std::vector<Completion> batch = {
      completion("<think>x</think><answer>Happy</answer>", {{"label", "joy"}})};
  EXPECT_NEAR(make_scorer(config, {})->score(batch, 0).at(0).reward.value(), 1.0, 1e-12);
  config.graph.reset();
  EXPECT_THROW(make_scorer(config, {}), ConfigError);
}

}  // namespace
}  // namespace limbic::rewards
