#include "rewards/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/yaml_config.h"

namespace limbic::rewards {

constexpr const char* kGated = "gated";
constexpr const char* kTermVersion = "1";

struct Graph::Node {
  NodeConfig config;  // without its children
  std::string name;
  std::size_t id = 0;
  std::optional<std::pair<double, double>> clamp;
  std::unique_ptr<Term> term;
  const Node* depends_on = nullptr;
  std::vector<std::unique_ptr<Node>> children;
};

struct Graph::Outcome {
  Status status = Status::kNotApplicable;
  double value = 0.0;
  std::string detail = kGated;
  bool skipped = true;       // by a closed gate: never evaluated
  bool gate_closed = false;  // somewhere inside, and no floor caught it
  std::vector<Component> inside{};

  Outcome() = default;
  Outcome(Status s, double v, std::string d)
      : status(s), value(v), detail(std::move(d)), skipped(false) {}
  bool scored() const { return status == Status::kScored; }
};

struct Graph::Run {
  std::span<const Completion> batch;
  std::int64_t policy_step;
  std::vector<std::vector<Outcome>> outcomes;               // [node, row]
  std::vector<std::vector<std::optional<Result>>> results;  // [node, row], terms only, as they came
};

namespace {

std::string place_of(const NodeConfig& node, const std::string& parent, std::size_t index) {
  const std::string name = node_name(node);
  return fmt::format("{}.terms.{}", parent, name.empty() ? std::to_string(index) : name);
}

}  // namespace

Graph::Graph(const NodeConfig& config, const GraphContext& context) {
  check(config.kind != NodeKind::kUndecided, "a reward graph that was never read");
  const std::string where = "rewards.graph";
  if (config.gate) {
    throw ConfigError(where + ".gate: got true on the outermost node, want it on a node inside");
  }
  root_ = build(config, context, where);
  link_dependencies();
  config_text_ = YamlWriter().write(config);
}

Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

std::unique_ptr<Graph::Node> Graph::build(const NodeConfig& config, const GraphContext& context,
                                          const std::string& where) {
  auto node = std::make_unique<Node>();
  node->config = config;
  node->config.terms.clear();
  node->name = node_name(config);
  node->id = nodes_++;
  node->clamp = clamp_of(config);
  if (config.kind == NodeKind::kTerm) {
    const TermSetup setup{context, where};
    node->term =
        std::visit([&](const auto& options) { return make_term(options, setup); }, config.term);
    if (missing_value(config) && node->term->columns().empty()) {
      throw ConfigError(where + ".missing: got a value for a term that reads no column of the row");
    }
    leaves_.push_back(node.get());
    return node;
  }
  for (std::size_t i = 0; i < config.terms.size(); ++i) {
    node->children.push_back(build(config.terms[i], context, place_of(config.terms[i], where, i)));
  }
  return node;
}

void Graph::link_dependencies() {
  std::vector<std::string> names;
  std::vector<const Node*> nodes = {root_.get()};
  while (!nodes.empty()) {
    const Node* node = nodes.back();
    nodes.pop_back();
    for (const auto& child : node->children) nodes.push_back(child.get());
    if (node->name.empty()) continue;
    if (std::find(names.begin(), names.end(), node->name) != names.end()) {
      throw ConfigError(fmt::format(
          "rewards.graph: got the name '{}' twice, want one per node; set `name`", node->name));
    }
    names.push_back(node->name);
  }
  for (Node* leaf : leaves_) {
    const std::string wanted = leaf->term->depends_on();
    if (wanted.empty()) continue;
    std::vector<std::string> known;
    for (const Node* other : leaves_) {
      if (!other->term->depends_on().empty()) continue;
      known.push_back(other->name);
      if (other->name == wanted) leaf->depends_on = other;
    }
    if (leaf->depends_on != nullptr) continue;
    const std::string near = nearest_name(wanted, known);
    throw ConfigError(
        fmt::format("rewards.graph.{}.right: got '{}', want the name of another term{}", leaf->name,
                    wanted, near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
}

std::vector<Score> Graph::score(std::span<const Completion> batch, std::int64_t policy_step) const {
  Run run{batch, policy_step, {}, {}};
  run.outcomes.assign(nodes_, std::vector<Outcome>(batch.size()));
  run.results.assign(nodes_, std::vector<std::optional<Result>>(batch.size()));
  if (!batch.empty()) evaluate(*root_, std::vector<bool>(batch.size(), true), run);
  std::vector<Score> scores(batch.size());
  for (std::size_t row = 0; row < batch.size(); ++row) {
    const Outcome& outcome = run.outcomes[root_->id][row];
    scores[row].status = outcome.status;
    collect(*root_, run, row, scores[row].components);
    if (!outcome.scored()) continue;
    const double reward = weight_at(root_->config, policy_step) * outcome.value;
    scores[row].status = std::isfinite(reward) ? Status::kScored : Status::kFailed;
    if (std::isfinite(reward)) scores[row].reward = reward;
  }
  return scores;
}

void Graph::evaluate(const Node& node, const std::vector<bool>& active, Run& run) const {
  if (node.term) {
    evaluate_term(node, active, run);
  } else {
    evaluate_combination(node, active, run);
  }
}

// Calls the term for the active rows that have no result yet.
void Graph::run_term(const Node& node, const std::vector<bool>& active, Run& run) const {
  std::vector<std::optional<Result>>& results = run.results[node.id];
  std::vector<bool> wanted = active;
  for (std::size_t row = 0; row < wanted.size(); ++row) wanted[row] = active[row] && !results[row];
  if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return;
  if (node.depends_on != nullptr) run_term(*node.depends_on, wanted, run);
  TermCall call;
  call.policy_step = run.policy_step;
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < wanted.size(); ++row) {
    if (!wanted[row]) continue;
    rows.push_back(row);
    call.batch.push_back(&run.batch[row]);
    if (node.depends_on != nullptr) {
      call.verdicts.push_back(*run.results[node.depends_on->id][row]);
    }
  }
  std::vector<Result> fresh = node.term->score(call);
  check(fresh.size() == rows.size(), "term '" + node.name + "' gave a wrong number of results");
  for (std::size_t i = 0; i < rows.size(); ++i) results[rows[i]] = std::move(fresh[i]);
}

void Graph::evaluate_term(const Node& node, const std::vector<bool>& active, Run& run) const {
  run_term(node, active, run);
  const std::optional<double> missing = missing_value(node.config);
  for (std::size_t row = 0; row < active.size(); ++row) {
    if (!active[row]) continue;
    const Result& result = *run.results[node.id][row];
    Outcome outcome(result.status, result.value, result.detail);
    outcome.inside = result.inside;
    if (result.missing && missing) {
      outcome.status = Status::kScored;
      outcome.value = *missing;
    }
    if (outcome.scored() && !std::isfinite(outcome.value)) {
      outcome.status = Status::kFailed;
      outcome.detail = fmt::format("got {}, want a finite value", outcome.value);
    }
    if (outcome.scored() && node.clamp) {
      outcome.value = std::clamp(outcome.value, node.clamp->first, node.clamp->second);
    }
    run.outcomes[node.id][row] = std::move(outcome);
  }
}

void Graph::evaluate_combination(const Node& node, const std::vector<bool>& active,
                                 Run& run) const {
  std::vector<bool> open = active;
  std::vector<bool> closed_here(active.size(), false);
  for (const auto& child : node.children) {
    evaluate(*child, open, run);
    for (std::size_t row = 0; row < open.size(); ++row) {
      if (!open[row]) continue;
      const Outcome& outcome = run.outcomes[child->id][row];
      const bool gate = child->config.gate && outcome.scored() && outcome.value == 0.0;
      closed_here[row] = closed_here[row] || gate || outcome.gate_closed;
      if (gate || (outcome.gate_closed && node.config.floor_on_fail)) open[row] = false;
    }
  }
  for (std::size_t row = 0; row < active.size(); ++row) {
    if (!active[row]) continue;
    Outcome outcome = combine(node, run, row);
    if (closed_here[row] && outcome.scored()) {
      if (node.config.floor_on_fail) {
        outcome = {Status::kScored, *node.config.floor_on_fail, "floor: a gate is closed"};
      } else {
        outcome.gate_closed = true;
      }
    }
    run.outcomes[node.id][row] = std::move(outcome);
  }
}

Graph::Outcome Graph::combine(const Node& node, const Run& run, std::size_t row) {
  const Combine how = node.config.combine;
  double value = how == Combine::kProduct ? 1.0 : 0.0;
  double weights_all = 0.0;
  double weights_applying = 0.0;
  bool first = true;
  for (const auto& child : node.children) {
    const Outcome& outcome = run.outcomes[child->id][row];
    if (outcome.status == Status::kFailed) {
      const std::string who = child->name.empty() ? "" : child->name + ": ";
      return {Status::kFailed, 0.0, who + outcome.detail};
    }
    const double weight = weight_at(child->config, run.policy_step);
    weights_all += weight;
    if (outcome.scored() || outcome.skipped) weights_applying += weight;
    if (!outcome.scored()) continue;
    const double part = weight * outcome.value;
    switch (how) {
      case Combine::kSum:
        value += part;
        break;
      case Combine::kProduct:
        value *= part;
        break;
      case Combine::kMax:
        value = first ? part : std::max(value, part);
        break;
      case Combine::kMin:
        value = first ? part : std::min(value, part);
        break;
    }
    first = false;
  }
  if (first) return {Status::kNotApplicable, 0.0, "no term applies"};
  if (node.config.rescale && weights_applying != 0.0) value *= weights_all / weights_applying;
  if (!std::isfinite(value)) {
    return {Status::kFailed, 0.0, fmt::format("got {}, want a finite value", value)};
  }
  if (node.clamp) value = std::clamp(value, node.clamp->first, node.clamp->second);
  return {Status::kScored, value, ""};
}

void Graph::collect(const Node& node, const Run& run, std::size_t row,
                    std::vector<Component>& out) {
  for (const auto& child : node.children) collect(*child, run, row, out);
  if (node.name.empty()) return;
  const Outcome& outcome = run.outcomes[node.id][row];
  Component component{node.name, outcome.status, std::nullopt, outcome.detail};
  if (outcome.scored()) component.value = outcome.value;
  out.push_back(std::move(component));
  for (const Component& inside : outcome.inside) {
    out.push_back(inside);
    out.back().name = fmt::format("{}/{}", node.name, inside.name);
  }
}

std::vector<TermInfo> Graph::terms() const {
  std::vector<TermInfo> terms;
  for (const Node* leaf : leaves_) {
    const bool optional = missing_value(leaf->config).has_value();
    terms.push_back({leaf->name, std::string(term_names()[leaf->config.term.index()]), kTermVersion,
                     optional ? std::vector<std::string>() : leaf->term->columns(), false});
  }
  return terms;
}

std::vector<std::string> Graph::required_columns() const {
  std::vector<std::string> columns;
  for (const Node* leaf : leaves_) {
    if (missing_value(leaf->config)) continue;
    for (const std::string& column : leaf->term->columns()) {
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) {
        columns.push_back(column);
      }
    }
  }
  return columns;
}

std::string Graph::hash() const {
  std::string text = config_text_;
  for (const Node* leaf : leaves_) text += leaf->name + "\n" + leaf->term->tables();
  return sha256(text);
}

void Graph::connect() const {
  for (const Node* leaf : leaves_) leaf->term->connect();
}

}  // namespace limbic::rewards
