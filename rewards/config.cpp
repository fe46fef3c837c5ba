#include "rewards/config.h"

#include "rewards/local_scorer.h"
#include "trainer/base/error.h"

namespace limbic::rewards {

void describe(Fields& f, RewardsConfig& c) {
  describe(f, c.remote);
  f.choice("on_failure", c.on_failure,
           {{OnFailure::kDropSample, "drop_sample"},
            {OnFailure::kDropGroup, "drop_group"},
            {OnFailure::kWait, "wait"},
            {OnFailure::kFailStep, "fail_step"}},
           "what happens when a reward stays unknown");
  describe(f, c.judges);
  f.section("graph", c.graph, "the outermost node of the reward graph");
}

std::shared_ptr<Scorer> make_scorer(const RewardsConfig& config, const GraphContext& context) {
  if (!config.remote.workers.empty()) {
    return std::make_shared<RemoteScorer>(config.remote, context.seed);
  }
  if (!config.graph) {
    throw ConfigError(
        "rewards: got neither workers nor a graph, want one of them; a graph runs in this process");
  }
  GraphContext whole = context;
  whole.judges = std::make_shared<Judges>(config.judges, context.seed);
  return std::make_shared<LocalScorer>(*config.graph, whole);
}

}  // namespace limbic::rewards
