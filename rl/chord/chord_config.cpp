#include "rl/chord/chord_config.h"

namespace limbic::rl {

void describe(Fields& f, ChordConfig& c) {
  f.require("data");
  f.require("sft_data");
  f.field("data", c.data, "dataset of prompts, or a list of datasets to mix");
  f.field("sft_data", c.sft_data, "dataset of expert answers, or a list of datasets to mix");
  f.field("sft_per_device_train_batch_size", c.sft_per_device_train_batch_size,
          "expert rows per rank and micro-batch; a step takes gradient_accumulation_steps times as "
          "many",
          Bounds::at_least(1));
  describe(f, c.mu);
  f.field("phi", c.phi,
          "weight expert tokens with p (1 - p) of their probability: neither what is known nor "
          "what is out of reach");
  f.choice("sft_average", c.sft_average,
           {{ExpertAverage::kSample, "sample"}, {ExpertAverage::kToken, "token"}},
           "expert losses are averaged over the tokens of a sample, then over samples (the paper), "
           "or over all tokens of the step (its code)");
  describe(f, static_cast<PolicyConfig&>(c));
}

}  // namespace limbic::rl
