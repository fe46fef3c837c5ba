// One stage of the pipeline: its model, its run, its result folder.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "launch/config/run_config.h"
#include "launch/model/model_setup.h"
#include "launch/run/run_folder.h"
#include "trainer/engine/stage.h"

namespace limbic::launch {

// The datasets of a run, loaded on first use.
class DatasetStore {
 public:
  explicit DatasetStore(const RunConfig& config) : config_(config) {}
  // Throws ConfigError for an unknown name, DataError for what is wrong in the files.
  const data::Dataset& get(const std::string& name);

 private:
  const RunConfig& config_;
  std::map<std::string, std::unique_ptr<data::Dataset>> loaded_;
};

// What all stages of a run share.
struct RunState {
  const RunConfig& config;
  const Place& place;
  parallel::Communicator& communicator;
  RunFolder& folder;
  Text& text;
  DatasetStore& datasets;
  metrics::MetricsLog& metrics;
  metrics::MetricsLog& completions;
  metrics::Progress& progress;
  const std::atomic<bool>& stop_requested;
  bool resume = true;
  std::string resume_from;
};

// Runs a stage and leaves its result in the folder's unfinished_folder. Every rank must call.
// `parent` is the finished training stage that it starts from; empty = the model of the config.
engine::StageResult run_stage(RunState& state, const StageConfig& stage, const std::string& parent);

}  // namespace limbic::launch
