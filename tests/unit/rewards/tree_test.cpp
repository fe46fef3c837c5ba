#include "rewards/terms/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/unit/rewards/graph_of.h"

namespace limbic::rewards {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kGold = R"({"smile": {"mouth": ["AU12"], "eyes": ["AU6"]}, "voice": "warm"})";

Score score(const std::string& text, const std::string& gold = kGold,
            const std::string& options = "") {
  return score_of("{type: tree, column: tree" + options + "}", completion(text, {{"tree", gold}}));
}
double value(const std::string& text, const std::string& gold = kGold,
             const std::string& options = "") {
  return score(text, gold, options).reward.value();
}
double distance(const std::string& from, const std::string& to, const EditCosts& costs = {}) {
  return tree_distance(read_tree(from), read_tree(to), costs);
}

TEST(GoldenNumbers, TreeReward) {
  EXPECT_EQ(value(kGold), 1.0);
  EXPECT_NEAR(value(R"({"smile": {"mouth": ["AU12"], "eyes": ["AU7"]}, "voice": "warm"})"), 0.3679,
              5e-5);
}

TEST(Tree, StandsInPostOrder) {
  const Tree tree = read_tree(R"({"a": {"b": 1, "c": null}, "D.": [["e"], {"f": []}]})");
  EXPECT_THAT(tree.labels, ElementsAre("1", "b", "c", "a", "e", "f", "d", ""));
  EXPECT_THAT(tree.leftmost, ElementsAre(0u, 0u, 2u, 0u, 4u, 5u, 4u, 0u));
}

// The example of the paper: f(d(a, c(b)), e) and f(c(d(a, b)), e).
TEST(TreeDistance, OfThePapersExampleIsTwo) {
  EXPECT_EQ(distance(R"({"f": {"d": {"a": [], "c": "b"}, "e": []}})",
                     R"({"f": {"c": {"d": ["a", "b"]}, "e": []}})"),
            2.0);
}

TEST(TreeDistance, ChargesEachKindOfEdit) {
  const EditCosts costs{.relabel = 3.0, .insert = 5.0, .remove = 7.0};
  EXPECT_EQ(distance(R"(["a"])", R"(["b"])", costs), 3.0);
  EXPECT_EQ(distance(R"(["a"])", R"(["a", "b"])", costs), 5.0);
  EXPECT_EQ(distance(R"(["a", "b"])", R"(["a"])", costs), 7.0);
  EXPECT_EQ(distance(R"({"a": ["b"]})", R"(["b"])", costs), 7.0);  // b moves up
  EXPECT_EQ(distance(R"(["a"])", R"(["b"])", {.relabel = 9.0}), 2.0);
  EXPECT_EQ(distance(R"(["a", "b"])", R"(["b", "a"])"), 2.0);  // siblings have an order
}

// The recursion over rightmost roots that defines the distance; forests as lists of trees.
struct Plain {
  std::string label;
  std::vector<Plain> below;
};
using Forest = std::vector<Plain>;

std::size_t size_of(const Forest& forest) {
  std::size_t size = 0;
  for (const Plain& tree : forest) size += 1 + size_of(tree.below);
  return size;
}
Forest without_last_root(Forest forest) {
  const Forest below = forest.back().below;
  forest.pop_back();
  forest.insert(forest.end(), below.begin(), below.end());
  return forest;
}
Forest without_last_tree(Forest forest) {
  forest.pop_back();
  return forest;
}
double by_definition(const Forest& from, const Forest& to, const EditCosts& c) {
  if (from.empty()) return c.insert * static_cast<double>(size_of(to));
  if (to.empty()) return c.remove * static_cast<double>(size_of(from));
  const Plain& a = from.back();
  const Plain& b = to.back();
  return std::min({by_definition(without_last_root(from), to, c) + c.remove,
                   by_definition(from, without_last_root(to), c) + c.insert,
                   by_definition(a.below, b.below, c) +
                       by_definition(without_last_tree(from), without_last_tree(to), c) +
                       (a.label == b.label ? 0.0 : c.relabel)});
}
Forest random_forest(std::size_t nodes, std::mt19937& draw) {
  Forest forest;
  while (nodes > 0) {
    const std::size_t below = draw() % nodes;
    forest.push_back({std::string(1, static_cast<char>('a' + draw() % 3)), {}});
    forest.back().below = random_forest(below, draw);
    nodes -= below + 1;
  }
  return forest;
}
Json json_of(const Forest& forest) {
  Json list = Json::array();
  for (const Plain& tree : forest) list.push_back(Json{{tree.label, json_of(tree.below)}});
  return list;
}

TEST(TreeDistance, EqualsItsDefinitionOnRandomTrees) {
  std::mt19937 draw(7);
  const EditCosts costs{.relabel = 1.5, .insert = 1.0, .remove = 0.75};
  for (int i = 0; i < 60; ++i) {
    const Forest from = random_forest(draw() % 6, draw);
    const Forest to = random_forest(1 + draw() % 5, draw);
    EXPECT_DOUBLE_EQ(distance(json_of(from).dump(), json_of(to).dump(), costs),
                     by_definition(from, to, costs))
        << json_of(from) << " " << json_of(to);
  }
}

TEST(TreeTerm, LambdaAndCostsShapeTheValue) {
  EXPECT_NEAR(value(R"(["a", "b"])", R"(["a"])", ", lambda: 0.5"), std::exp(-0.5), 1e-12);
  EXPECT_NEAR(value(R"(["a", "b"])", R"(["a"])", ", costs: {insert: 0.25, delete: 9}"),
              std::exp(-0.25), 1e-12);
  EXPECT_NEAR(value(R"(["a"])", R"(["a", "b"])", ", costs: {delete: 0.25}"), std::exp(-0.25),
              1e-12);
}

TEST(TreeTerm, ReadsARegion) {
  EXPECT_EQ(value("<think>x</think><tree> [\"a\"] </tree>", "[\"a\"]", ", region: tree"), 1.0);
  EXPECT_EQ(value("```json\n[\"a\"]\n```", "[\"a\"]", ", region: [\"```json\", \"```\"]"), 1.0);
  EXPECT_EQ(value("[\"a\"]", "[\"a\"]", ", region: tree"), 0.0);
}

TEST(TreeTerm, AnAnswerThatIsNoTreeIsWorthNothing) {
  const auto detail = [](const std::string& text) {
    const Score scored = score(text);
    EXPECT_EQ(scored.reward, 0.0);
    return scored.components.at(0).detail;
  };
  EXPECT_EQ(detail("a smile"), "got 'a smile', want a tree in JSON");
  Json wide = Json::array();
  for (std::size_t i = 0; i < kMaxTreeNodes; ++i) wide.push_back("x");
  EXPECT_EQ(detail(wide.dump()), "got a tree of more than 256 nodes, want fewer");
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_EQ(detail(deep), "got JSON nested in more than 64 levels, want fewer");
  const std::string allowed = std::string(kMaxTreeDepth, '[') + std::string(kMaxTreeDepth, ']');
  EXPECT_GT(value(allowed), 0.0);
}

TEST(TreeTerm, NeedsAGoldTree) {
  EXPECT_EQ(score_of("{type: tree, column: tree}", completion("[]")).status,
            Status::kNotApplicable);
  const Score failed = score("[]", "a smile");
  EXPECT_EQ(failed.status, Status::kFailed);
  EXPECT_EQ(failed.components.at(0).detail, "column 'tree': got 'a smile', want a tree in JSON");
}

TEST(TreeTerm, RefusesWrongOptions) {
  EXPECT_EQ(config_error_of("{type: tree}"),
            "run.yaml:1: graph.column: got nothing, want the column of the gold tree");
  EXPECT_THAT(config_error_of("{type: tree, column: c, lambda: 0}"), HasSubstr("graph.lambda"));
  EXPECT_THAT(config_error_of("{type: tree, column: c, costs: {insert: -1}}"),
              HasSubstr("graph.costs.insert"));
  EXPECT_THAT(config_error_of("{type: tree, column: c, costs: {remove: 1}}"),
              HasSubstr("graph.costs.remove"));
}

}  // namespace
}  // namespace limbic::rewards
