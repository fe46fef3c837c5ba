// A file with a `rewards:` section, as `limbic serve` and `limbic score` take it. Other sections of
// an experiment file may stand beside it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rewards/config.h"
#include "rewards/service/reward_service.h"
#include "rewards/terms/term.h"
#include "trainer/base/yaml_config.h"

namespace limbic::launch {

struct RewardsFile {
  rewards::RewardsConfig rewards;
  rewards::ServeConfig serve;
  rewards::GraphContext context;
  std::shared_ptr<const YamlDocument> source;

  // Connected. Throws ConfigError or RemoteError, with file and line.
  std::shared_ptr<rewards::Scorer> make_scorer() const;
};

// Throws ConfigError.
RewardsFile load_rewards_file(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace limbic::launch
