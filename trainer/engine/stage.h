// What a stage is given and what it gives back. Stages do not know each other; the pipeline in
// `launch` hands the model from one to the next.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "data/dataset.h"
#include "data/template/chat_template.h"
#include "data/tokenizer/tokenizer.h"
#include "rewards/config.h"
#include "trainer/base/fields.h"
#include "trainer/engine/train_engine.h"
#include "trainer/metrics/metrics_log.h"
#include "trainer/metrics/progress.h"
#include "trainer/model/decoder.h"
#include "trainer/parallel/communicator.h"

namespace limbic::engine {

// Everything a stage may use. Nothing here is owned by the stage.
struct RunContext {
  parallel::Communicator& communicator;
  model::Decoder& decoder;
  const data::Tokenizer& tokenizer;
  const data::ChatTemplate& chat_template;
  const Json& template_variables;
  // Loads a dataset of the config on first use. Throws ConfigError for an unknown name.
  std::function<const data::Dataset&(const std::string& name)> dataset;
  const rewards::RewardsConfig& rewards;
  metrics::MetricsLog& metrics;
  metrics::MetricsLog& completions;  // sampled completions of logged steps
  metrics::Progress& progress;
  Parallelism parallelism;
  std::string run_folder;  // `run.output`
  std::string stage_name;
  std::string config_hash;      // of everything that changes numbers; part of each checkpoint
  std::int64_t steps_done = 0;  // optimizer steps of the stages before this one
  std::uint64_t seed = 0;
  bool resume = true;                       // continue from the stage's newest checkpoint
  std::string resume_from;                  // not empty: from this step folder instead
  const std::atomic<bool>& stop_requested;  // set by SIGINT and SIGTERM
};

struct StageResult {
  std::int64_t steps = 0;
  std::int64_t tokens = 0;        // processed by all ranks
  Json metrics = Json::object();  // final values, for summary.json
};

}  // namespace limbic::engine
