// A reward graph in this process as a Scorer.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "rewards/graph.h"
#include "rewards/scorer.h"

namespace limbic::rewards {

class LocalScorer final : public Scorer {
 public:
  // Throws ConfigError, see Graph.
  LocalScorer(const NodeConfig& config, const GraphContext& context) : graph_(config, context) {}

  std::vector<Score> score(std::span<const Completion> batch, std::int64_t policy_step) override {
    return graph_.score(batch, policy_step);
  }
  Description describe() override;
  void connect() override { graph_.connect(); }

  // Columns that at least one row of the data has to have; the caller checks it, as it knows the
  // data.
  std::vector<std::string> required_columns() const { return graph_.required_columns(); }

 private:
  Graph graph_;
};

}  // namespace limbic::rewards
