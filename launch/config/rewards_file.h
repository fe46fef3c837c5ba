// A file with a `rewards:` section, as `limbic serve` and `limbic score` take it. Other sections of
// an experiment file may stand beside it.
#pragma once

#include <string>
#include <vector>

#include "rewards/config.h"
#include "rewards/service/reward_service.h"
#include "rewards/terms/term.h"

namespace limbic::launch {

struct RewardsFile {
  rewards::RewardsConfig rewards;
  rewards::ServeConfig serve;
  rewards::GraphContext context;
};

// Throws ConfigError.
RewardsFile load_rewards_file(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace limbic::launch
