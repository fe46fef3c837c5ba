// The keys of a `type: grpo` stage.
#pragma once

#include <string>
#include <vector>

#include "rl/policy/policy_config.h"

namespace limbic::rl {

struct GrpoConfig : PolicyConfig {
  std::vector<std::string> data;  // names of datasets, mixed
};
void describe(Fields& f, GrpoConfig& c);

}  // namespace limbic::rl
