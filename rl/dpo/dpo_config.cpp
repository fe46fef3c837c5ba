#include "rl/dpo/dpo_config.h"

namespace limbic::rl {

void describe(Fields& f, DpoConfig& c) {
  f.require("data");
  f.field("data", c.data,
          "dataset of pairs (columns prompt, chosen, rejected), or a list of datasets to mix");
  describe(f, c.loss);
  f.field("precompute_ref_log_probs", c.precompute_ref_log_probs,
          "score all pairs with the start model before the first step and keep the figures: no "
          "second model, no second forward pass per step");
  describe(f, c.train);
}

}  // namespace limbic::rl
