// The keys of a `type: chord` stage: those of a stage with sampled completions, and the experts'.
#pragma once

#include <string>
#include <vector>

#include "rl/loss/chord_loss.h"
#include "rl/policy/policy_config.h"

namespace limbic::rl {

struct ChordConfig : PolicyConfig {
  ChordConfig() { loss.loss_type = LossType::kGrpo; }

  std::vector<std::string> data;      // of prompts
  std::vector<std::string> sft_data;  // of expert answers
  std::int64_t sft_per_device_train_batch_size = 8;
  MuConfig mu;
  bool phi = true;
  ExpertAverage sft_average = ExpertAverage::kSample;
};
void describe(Fields& f, ChordConfig& c);

}  // namespace limbic::rl
