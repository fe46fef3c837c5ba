// The keys of a `type: eval` stage and of the `eval:` section of `limbic eval`.
#pragma once

#include <string>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/generation/sampler.h"

namespace limbic::eval {

struct EvalConfig {
  EvalConfig() { sampling.temperature = 0.0; }

  std::vector<std::string> data;
  std::string label = "label";  // column with the right answer
  std::vector<std::string> metrics = {"accuracy", "macro_f1"};
  std::int64_t max_completion_length = 32;
  generation::SamplingConfig sampling;
  std::vector<std::string> choices;  // not empty: the likeliest of these instead of generating
  std::vector<std::string> region;   // tag of the answer, or two markers; empty = all of it
  Json aliases;                      // as in the reward term `label`
  std::vector<std::string> normalize = {"lower", "strip_punctuation"};
  std::int64_t per_device_eval_batch_size = 64;
};
void describe(Fields& f, EvalConfig& c);

}  // namespace limbic::eval
