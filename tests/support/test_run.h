// Everything that a stage is given, small and in memory: a tiny model, a tokenizer with one token
// per letter, a ChatML template.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"
#include "trainer/engine/stage.h"

namespace limbic::engine {

inline constexpr std::int32_t kTurnBegin = 55, kTurnEnd = 56, kEndOfSequence = 57;

inline constexpr const char* kChatMl =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

// a-z are 0-25, a space is 26, a line feed 27, 0-9 are 28-37.
data::Tokenizer letter_tokenizer(const test::TempFolder& folder);

// One rank's side of a run in `run_folder`.
class TestRun {
 public:
  TestRun(parallel::Communicator& communicator, const std::string& run_folder,
          model::Decoder trained = model::tiny_model(model::WeightUse::kTrained));

  // Makes the lines a dataset. Returns the file, as messages name it.
  std::string add_dataset(const std::string& name, const std::vector<std::string>& lines);

 private:
  test::TempFolder folder_;
  std::map<std::string, data::Dataset> datasets_;

 public:
  model::Decoder decoder;
  data::Tokenizer tokenizer;
  data::ChatTemplate chat_template;
  Json template_variables = Json::object();
  rewards::RewardsConfig rewards;
  metrics::MetricsLog metrics;
  metrics::MetricsLog completions;
  metrics::Progress progress{false, false};
  std::atomic<bool> stop_requested{false};
  RunContext context;
};

}  // namespace limbic::engine
