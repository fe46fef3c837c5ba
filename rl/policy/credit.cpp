#include "rl/policy/credit.h"

#include <fmt/format.h>

#include <algorithm>

#include "rl/policy/token_regions.h"
#include "trainer/base/error.h"

namespace limbic::rl {
namespace {

std::vector<std::string> term_names(const rewards::NodeConfig& root) {
  std::vector<std::string> names;
  for (const rewards::NodeConfig& node : root.terms) names.push_back(rewards::node_name(node));
  return names;
}

// KL of a completion as it was drawn: summed over its tokens.
double divergence(const Trajectory& t, KlEstimator estimator) {
  const at::Tensor own = at::tensor(t.sampled_logprobs).to(at::kDouble);
  const at::Tensor reference = at::tensor(t.ref_logprobs).to(at::kDouble);
  return kl_estimate(own, reference, estimator).sum().item<double>();
}

std::optional<double> value_of(const rewards::Score& score, const std::string& name) {
  for (const rewards::Component& component : score.components) {
    if (component.name == name) return component.value;
  }
  return std::nullopt;
}

// Which completions take part: the scored ones, without the groups that on_failure drops.
std::vector<bool> taking_part(std::span<const Trajectory> trajectories, std::int64_t group_size,
                              rewards::OnFailure on_failure, Dropped& dropped) {
  const auto group = static_cast<std::size_t>(group_size);
  std::vector<bool> out;
  for (std::size_t first = 0; first < trajectories.size(); first += group) {
    std::int64_t failed = 0;
    for (std::size_t i = first; i < first + group; ++i) {
      const rewards::Status status = trajectories[i].score.status;
      failed += status == rewards::Status::kFailed ? 1 : 0;
      out.push_back(status == rewards::Status::kScored);
    }
    dropped.samples += failed;
    if (failed == 0 || on_failure != rewards::OnFailure::kDropGroup) continue;
    ++dropped.groups;
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(), false);
  }
  return out;
}

// The terms of this rank's completions.
std::vector<RewardTerm> local_terms(std::span<const Trajectory> trajectories,
                                    const std::vector<bool>& active,
                                    const rewards::RewardsConfig& rewards,
                                    const PolicyConfig& config, std::int64_t policy_step) {
  const KlConfig& kl = config.loss.kl;
  const auto column = [&](auto value) {
    Column values(trajectories.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (active[i]) values[i] = value(trajectories[i]);
    }
    return values;
  };
  const auto penalty = [&](const Trajectory& t) {
    return kl.in_reward ? divergence(t, kl.estimator) : 0.0;
  };
  if (!config.by_term()) {
    return {{.values = column([&](const Trajectory& t) -> std::optional<double> {
               return t.score.reward.value() - kl.beta * penalty(t);
             }),
             .weight = 1.0}};
  }
  std::vector<RewardTerm> terms;
  const rewards::NodeConfig& root = *rewards.graph;
  const double outer = rewards::weight_at(root, policy_step);
  for (const rewards::NodeConfig& node : root.terms) {
    const std::string name = rewards::node_name(node);
    terms.push_back({.values = column([&](const Trajectory& t) { return value_of(t.score, name); }),
                     .weight = outer * rewards::weight_at(node, policy_step)});
  }
  if (kl.in_reward) {
    terms.push_back(
        {.values = column([&](const Trajectory& t) -> std::optional<double> { return penalty(t); }),
         .weight = -kl.beta});
  }
  return terms;
}

// The same terms over the completions of all ranks; returns where those of this rank begin.
std::size_t gather(parallel::Communicator& communicator, std::vector<RewardTerm>& terms) {
  Json mine = Json::array();
  for (const RewardTerm& term : terms) {
    Json values = Json::array();
    for (const auto& value : term.values) values.push_back(value ? Json(*value) : Json());
    mine.push_back(std::move(values));
  }
  const std::size_t own = terms.front().values.size();
  for (RewardTerm& term : terms) term.values.clear();
  std::size_t begin = 0;
  const auto parts = communicator.all_gather_bytes(mine.dump());
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    if (rank == static_cast<std::size_t>(communicator.rank())) begin = terms[0].values.size();
    const Json part = Json::parse(parts[rank]);
    for (std::size_t k = 0; k < terms.size(); ++k) {
      for (const Json& value : part[k]) {
        terms[k].values.push_back(value.is_null() ? std::optional<double>() : value.get<double>());
      }
    }
  }
  check(begin + own <= terms[0].values.size(), "this rank's completions are among all");
  return begin;
}

// Every term's advantage on the tokens of its region.
std::vector<float> spread_over_tokens(const data::Tokenizer& tokenizer, const Trajectory& t,
                                      const std::vector<Column>& parts, std::size_t at,
                                      const std::vector<std::string>& names,
                                      const PolicyConfig& config) {
  std::vector<float> tokens(t.ids.size(), 0.0f);
  for (std::size_t k = 0; k < parts.size(); ++k) {
    if (!parts[k][at]) continue;
    std::vector<bool> inside;
    for (const auto& [term, tag] : config.token_regions) {
      if (k < names.size() && term == names[k]) inside = tokens_in_region(tokenizer, t.ids, tag);
    }
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (inside.empty() || inside[i]) tokens[i] += static_cast<float>(*parts[k][at]);
    }
  }
  return tokens;
}

}  // namespace

std::string by_term_problem(const PolicyConfig& config, const rewards::RewardsConfig& rewards) {
  if (!config.by_term()) return "";
  const std::string key =
      config.token_regions.empty() ? "multi_objective_aggregation" : "token_regions";
  if (!rewards.remote.workers.empty() || !rewards.graph) {
    return fmt::format(
        "{}: got rewards that workers own, want rewards.graph here; its terms may "
        "be of type remote",
        key);
  }
  const rewards::NodeConfig& root = *rewards.graph;
  if (root.kind != rewards::NodeKind::kCombination || root.combine != rewards::Combine::kSum ||
      root.rescale || root.floor_on_fail || !root.clamp.is_null()) {
    return fmt::format(
        "{}: got another outermost node of rewards.graph, want combine: sum without "
        "rescale, clamp and floor_on_fail",
        key);
  }
  const std::vector<std::string> names = term_names(root);
  if (std::find(names.begin(), names.end(), "") != names.end()) {
    return fmt::format(
        "{}: got a node without a name in the outermost sum of rewards.graph, want "
        "names",
        key);
  }
  for (const auto& [term, tag] : config.token_regions) {
    if (std::find(names.begin(), names.end(), term) != names.end()) continue;
    return fmt::format("token_regions: got '{}', want one of the terms of the outermost sum: {}",
                       term, fmt::join(names, ", "));
  }
  return "";
}

Dropped set_credit(parallel::Communicator& communicator, const data::Tokenizer& tokenizer,
                   const rewards::RewardsConfig& rewards, const PolicyConfig& config,
                   std::span<Trajectory> trajectories, std::int64_t policy_step) {
  Dropped dropped;
  const std::vector<bool> active =
      taking_part(trajectories, config.num_generations, rewards.on_failure, dropped);
  std::vector<RewardTerm> terms = local_terms(trajectories, active, rewards, config, policy_step);
  const std::size_t begin = gather(communicator, terms);
  const std::vector<Column> parts = advantages(terms, config.num_generations, config.advantage);
  const Column total = sum_of(parts);
  const std::vector<std::string> names =
      config.by_term() ? term_names(*rewards.graph) : std::vector<std::string>();
  for (std::size_t i = 0; i < trajectories.size(); ++i) {
    Trajectory& t = trajectories[i];
    t.advantage = total[begin + i];
    if (!t.advantage || config.token_regions.empty()) continue;
    t.token_advantages = spread_over_tokens(tokenizer, t, parts, begin + i, names, config);
  }
  return dropped;
}

}  // namespace limbic::rl
