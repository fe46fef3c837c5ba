// The `rewards` section of an experiment file.
#pragma once

#include <memory>
#include <optional>

#include "rewards/graph_config.h"
#include "rewards/judge/judges.h"
#include "rewards/scorer.h"
#include "rewards/service/remote_scorer.h"

namespace limbic::rewards {

// What the trainer does about a completion whose reward failed for good. Never a 0.
enum class OnFailure { kDropSample, kDropGroup, kWait, kFailStep };

struct RewardsConfig {
  RemoteOptions remote;  // with workers, the workers own the graph and `graph` is not used here
  OnFailure on_failure = OnFailure::kDropGroup;
  JudgesConfig judges;  // what judge terms of the graph name
  std::optional<NodeConfig> graph;
};
void describe(Fields& f, RewardsConfig& c);

// The workers when there are any, else the graph in this process. Does not connect; call
// `connect()`. Throws ConfigError: neither workers nor graph, and what Graph refuses.
std::shared_ptr<Scorer> make_scorer(const RewardsConfig& config, const GraphContext& context);

}  // namespace limbic::rewards
