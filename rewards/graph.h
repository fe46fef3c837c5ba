// Evaluates a reward graph on a batch.
//
// Per node and completion there is one of three outcomes; the value is before the node's weight.
//   - A term that is not applicable takes no part: neutral in a product, absent from a sum, max or
//     min. A combination in which nothing applies is not applicable.
//   - sum, product, max and min work on weight x value. `rescale: true` multiplies a sum by
//   (weights of
//     all terms) / (weights of the terms that apply); terms behind a closed gate count as applying
//     with 0.
//   - Nodes are evaluated in order. A gate is closed by a value of exactly 0: the nodes behind it
//   in
//     its combination are not evaluated and not applicable with detail `gated`. A combination with
//     `floor_on_fail` then has that value, whatever its `clamp`, also when the gate stands deeper
//     inside and no node in between has a floor of its own.
//   - A failed term, or a value that is not finite, makes every node above it failed.
// The reward is weight x value of the outermost node.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rewards/graph_config.h"
#include "rewards/score.h"
#include "rewards/scorer.h"

namespace limbic::rewards {

class Graph {
 public:
  // Throws ConfigError that begins with `rewards.graph`: two nodes of one name, a gate that gates
  // nothing, a `missing` value for a term that reads no column, `right` that names no term, and
  // what the terms themselves refuse.
  Graph(const NodeConfig& config, const GraphContext& context);
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;

  // Pure; may be called from several threads at once.
  std::vector<Score> score(std::span<const Completion> batch, std::int64_t policy_step) const;

  std::vector<TermInfo> terms() const;
  // Columns that some row of the data has to have: those of terms without a `missing` value.
  std::vector<std::string> required_columns() const;
  std::string hash() const;
  void connect() const;

 private:
  struct Node;
  struct Run;
  struct Outcome;

  std::unique_ptr<Node> build(const NodeConfig& config, const GraphContext& context,
                              const std::string& where);
  void link_dependencies();
  void evaluate(const Node& node, const std::vector<bool>& active, Run& run) const;
  void evaluate_term(const Node& node, const std::vector<bool>& active, Run& run) const;
  void evaluate_combination(const Node& node, const std::vector<bool>& active, Run& run) const;
  void run_term(const Node& node, const std::vector<bool>& active, Run& run) const;
  static Outcome combine(const Node& node, const Run& run, std::size_t row);
  static void collect(const Node& node, const Run& run, std::size_t row,
                      std::vector<Component>& out);

  std::unique_ptr<Node> root_;
  std::vector<Node*> leaves_;  // in order of the file
  std::size_t nodes_ = 0;
  std::string config_text_;
};

}  // namespace limbic::rewards
