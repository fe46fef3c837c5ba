// The reward graph as it stands in YAML. A node is a term (`type`) or a combination (`combine` and
// `terms`); nodes nest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rewards/terms/term_options.h"
#include "trainer/base/fields.h"

namespace limbic::rewards {

enum class NodeKind { kUndecided, kTerm, kCombination };  // undecided: not read yet
enum class Combine { kSum, kProduct, kMax, kMin };

struct NodeConfig {
  std::string name;  // default of a term: its type; an unnamed combination is not reported
  double weight = 1.0;
  Json weights_over_steps;  // {policy step: weight from that step on}
  bool gate = false;
  Json clamp;                           // [low, high]
  std::optional<double> floor_on_fail;  // combinations only
  Json missing = "not_applicable";      // terms only: not_applicable or a value
  NodeKind kind = NodeKind::kUndecided;
  TermOptions term;
  Combine combine = Combine::kSum;
  std::vector<NodeConfig> terms;
  bool rescale = false;  // sums only
};
void describe(Fields& f, NodeConfig& c);

std::string node_name(const NodeConfig& node);
// Weight in force at a policy step.
double weight_at(const NodeConfig& node, std::int64_t policy_step);
std::optional<std::pair<double, double>> clamp_of(const NodeConfig& node);
std::optional<double> missing_value(const NodeConfig& node);
// A gate at any depth below the node.
bool has_gate_inside(const NodeConfig& node);

}  // namespace limbic::rewards
