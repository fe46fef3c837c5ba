// The keys of a `type: sft` stage.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/curriculum.h"
#include "data/template/chat_encoder.h"
#include "trainer/engine/train_config.h"

namespace limbic::sft {

struct SftConfig {
  std::vector<std::string> data;  // names of datasets, mixed
  std::optional<data::CurriculumConfig> curriculum;
  bool assistant_only_loss = true;
  data::Turns train_on_turns = data::Turns::kAll;
  double label_smoothing_factor = 0.0;
  engine::TrainConfig train;
};
void describe(Fields& f, SftConfig& c);

}  // namespace limbic::sft
