#include "rl/grpo/grpo_config.h"

namespace limbic::rl {

void describe(Fields& f, GrpoConfig& c) {
  f.require("data");
  f.field("data", c.data, "dataset of prompts, or a list of datasets to mix");
  describe(f, static_cast<PolicyConfig&>(c));
}

}  // namespace limbic::rl
