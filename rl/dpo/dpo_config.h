// The keys of a `type: dpo` stage, with TRL's names and defaults.
#pragma once

#include <string>
#include <vector>

#include "rl/loss/preference_loss.h"
#include "trainer/engine/train_config.h"

namespace limbic::rl {

struct DpoConfig {
  DpoConfig() { train.schedule.learning_rate = 1e-6; }

  std::vector<std::string> data;  // names of datasets, mixed
  PreferenceConfig loss;
  bool precompute_ref_log_probs = false;
  engine::TrainConfig train;
};
void describe(Fields& f, DpoConfig& c);

}  // namespace limbic::rl
