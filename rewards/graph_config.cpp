#include "rewards/graph_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

// Spelled in the documentation of the file, not part of this version.
constexpr std::array<std::string_view, 4> kLaterTerms = {"key_points", "group_rank",
                                                         "group_agreement", "diversity"};

std::optional<double> missing_of(const Json& option) {
  if (option.is_number()) return option.get<double>();
  if (option == "not_applicable") return std::nullopt;
  throw OptionError(
      fmt::format("got {}, want not_applicable or a number", shortened(option.dump())));
}

// Sorted by step.
std::vector<std::pair<std::int64_t, double>> schedule_of(const Json& option) {
  std::vector<std::pair<std::int64_t, double>> schedule;
  for (const auto& [step, weight] : numbers_by_name(option)) {
    const bool digits = !step.empty() && step.size() < 16 &&
                        step.find_first_not_of("0123456789") == std::string::npos;
    if (!digits) throw OptionError(fmt::format("got the step '{}', want a whole number", step));
    schedule.emplace_back(std::stoll(step), weight);
  }
  std::sort(schedule.begin(), schedule.end());
  return schedule;
}

void refuse_later_terms(Fields& f) {
  if (!f.reading() || !f.has("type")) return;
  std::string type;
  f.field("type", type, "");
  if (std::find(kLaterTerms.begin(), kLaterTerms.end(), type) == kLaterTerms.end()) return;
  f.fail("type", fmt::format("got '{}', want one of: {}; this version does not have the term '{}' "
                             "yet",
                             type, fmt::join(term_names(), ", "), type));
}

void describe_term(Fields& f, NodeConfig& c) {
  f.field("missing", c.missing, "value when the row lacks the column, or not_applicable");
  check_option(f, "missing", [&] { missing_of(c.missing); });
  refuse_later_terms(f);
  f.variant("type", c.term, term_names(), "kind of the term");
}

void describe_combination(Fields& f, NodeConfig& c) {
  f.choice("combine", c.combine,
           {{Combine::kSum, "sum"},
            {Combine::kProduct, "product"},
            {Combine::kMax, "max"},
            {Combine::kMin, "min"}},
           "how the weighted values of the terms become one");
  f.field("rescale", c.rescale,
          "sum: share the weight of terms that do not apply among those that do");
  f.field("floor_on_fail", c.floor_on_fail, "value of the node when a gate inside is closed");
  f.list("terms", c.terms, "the nodes that are combined");
  if (!f.reading()) return;
  if (c.terms.empty()) f.fail("terms", "got no terms, want at least one");
  if (c.rescale && c.combine != Combine::kSum) {
    f.fail("rescale", "got true beside another combine, want combine: sum");
  }
  if (c.floor_on_fail && !has_gate_inside(c)) {
    f.fail("floor_on_fail", "got a floor without a gate inside, want `gate: true` on a term");
  }
}

}  // namespace

void describe(Fields& f, NodeConfig& c) {
  f.field("name", c.name, "name in scores and metrics; default of a term: its type");
  f.field("weight", c.weight, "factor of the node's value in its combination");
  f.field("weights_over_steps", c.weights_over_steps,
          "{step: weight from that step of training on}; `weight` holds before the first");
  f.field("gate", c.gate, "a value of 0 skips the nodes that follow in the combination");
  f.field("clamp", c.clamp, "[low, high] of the value, before the weight");
  check_option(f, "clamp", [&] { clamp_of(c); });
  check_option(f, "weights_over_steps", [&] { schedule_of(c.weights_over_steps); });
  if (f.reading()) {
    if (f.has("type") == f.has("combine")) {
      f.fail("type", "got both or neither of type and combine, want one of them");
    }
    c.kind = f.has("type") ? NodeKind::kTerm : NodeKind::kCombination;
  }
  if (c.kind != NodeKind::kCombination) describe_term(f, c);
  if (c.kind != NodeKind::kTerm) describe_combination(f, c);
}

std::string node_name(const NodeConfig& node) {
  if (!node.name.empty() || node.kind != NodeKind::kTerm) return node.name;
  return std::string(term_names()[node.term.index()]);
}

double weight_at(const NodeConfig& node, std::int64_t policy_step) {
  double weight = node.weight;
  for (const auto& [step, value] : schedule_of(node.weights_over_steps)) {
    if (step <= policy_step) weight = value;
  }
  return weight;
}

std::optional<std::pair<double, double>> clamp_of(const NodeConfig& node) {
  if (node.clamp.is_null()) return std::nullopt;
  return bounds_of(node.clamp);
}

std::optional<double> missing_value(const NodeConfig& node) { return missing_of(node.missing); }

bool has_gate_inside(const NodeConfig& node) {
  return std::any_of(node.terms.begin(), node.terms.end(),
                     [](const NodeConfig& child) { return child.gate || has_gate_inside(child); });
}

}  // namespace limbic::rewards
