// The frame around every training stage: resume, steps, logging, checkpoints, stop requests. A
// stage brings `StepSource`, which is all that differs between SFT and RL.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/base/fields.h"
#include "trainer/engine/stage.h"
#include "trainer/engine/train_config.h"
#include "trainer/engine/train_engine.h"

namespace limbic::engine {

struct StepReport {
  StepResult result;
  std::int64_t tokens = 0;        // processed in this step by all ranks
  double headline = 0.0;          // what the progress line shows
  Json metrics = Json::object();  // everything else that goes to metrics.jsonl; same on all ranks
};

class StepSource {
 public:
  virtual ~StepSource() = default;
  // Runs optimizer step `step` (from 0). Every rank must call. A RemoteError is thrown on all ranks
  // or on none, and leaves the weights as they were before the step.
  virtual StepReport run_step(std::int64_t step, double learning_rate, TrainEngine& engine) = 0;
  // State beyond weights, moments and the step count that a resume needs; most stages have none
  // because their data is a pure function of the step.
  virtual Json state() const { return Json::object(); }
  virtual void load_state(const Json&) {}
  // False when a resume could not begin with `step`.
  virtual bool at_boundary(std::int64_t) const { return true; }
  virtual const char* headline_name() const = 0;  // "loss" or "reward"
};

// Runs `total_steps` steps, continuing from the newest checkpoint of the stage. Every rank must
// call. On a stop request: saves, then throws Interrupted on every rank. A lost service: saves what
// is done, then rethrows the RemoteError.
StageResult run_training(RunContext& context, const TrainConfig& config, std::int64_t total_steps,
                         StepSource& source);

}  // namespace limbic::engine
