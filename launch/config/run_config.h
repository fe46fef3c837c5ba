// The experiment file: everything that a run is made of. See docs/config.md for every key.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "data/dataset_config.h"
#include "rewards/config.h"
#include "rewards/service/reward_service.h"
#include "rl/chord/chord_config.h"
#include "rl/dpo/dpo_config.h"
#include "rl/eval/eval_config.h"
#include "rl/grpo/grpo_config.h"
#include "trainer/base/yaml_config.h"
#include "trainer/model/lora.h"
#include "trainer/sft/sft_config.h"

namespace limbic::launch {

enum class Device { kAuto, kCpu, kCuda };
enum class Dtype { kAuto, kFloat32, kBfloat16 };
enum class Init { kPretrained, kRandom };
enum class Backend { kAuto, kLocal, kMpi, kNccl };

struct RunSection {
  std::string name = "run";
  std::string output;  // empty = runs/NAME
  std::int64_t seed = 42;
  bool deterministic = true;
  Device device = Device::kAuto;
  Dtype dtype = Dtype::kAuto;
  std::int64_t threads = 0;
};
void describe(Fields& f, RunSection& c);

struct ModelSection {
  std::string path;
  std::string adapter;
  std::string chat_template;
  std::vector<std::string> extra_special_tokens;
  Init init = Init::kPretrained;
  Json template_variables = Json::object();
};
void describe(Fields& f, ModelSection& c);

enum class WireType { kFloat32, kBfloat16 };

struct ParallelSection {
  Backend backend = Backend::kAuto;
  std::int64_t zero_stage = 1;
  std::int64_t shard_ranks = 0;
  double bucket_mb = 25.0;
  bool overlap = true;
  WireType communication_data_type = WireType::kFloat32;
  double timeout_s = 600.0;
};
void describe(Fields& f, ParallelSection& c);

// `type: merge`: folds the adapter of the last training stage into a full model folder.
struct MergeConfig {
  Dtype dtype = Dtype::kFloat32;
};
void describe(Fields& f, MergeConfig& c);

using StageOptions = std::variant<sft::SftConfig, rl::GrpoConfig, rl::DpoConfig, rl::ChordConfig,
                                  eval::EvalConfig, MergeConfig>;

struct StageConfig {
  std::string name;
  std::string init_from;  // empty = the last training stage before it, or the model
  StageOptions options;

  const char* type() const;
  bool trains() const { return options.index() < 4; }
  // Shared keys of a training stage, else null.
  const engine::TrainConfig* train() const;
  // Keys of a stage that samples completions, else null.
  const rl::PolicyConfig* policy() const;
  std::vector<std::string> data() const;      // what its steps go over
  std::vector<std::string> datasets() const;  // and everything else that it reads
};
void describe(Fields& f, StageConfig& c);

struct EvalSection {
  std::string predictions;  // score this file instead of a model
  std::string output;       // folder of table.json; empty = beside the run
  eval::EvalConfig options;
};
void describe(Fields& f, EvalSection& c);

struct RunConfig {
  RunSection run;
  ModelSection model;
  std::optional<model::LoraConfig> lora;
  ParallelSection parallel;
  std::vector<std::pair<std::string, data::DatasetConfig>> datasets;
  rewards::RewardsConfig rewards;
  std::optional<rewards::ServeConfig> serve;
  std::vector<StageConfig> stages;
  std::optional<EvalSection> eval;
  std::shared_ptr<const YamlDocument> source;  // null = not read from a file

  // Runs `work`; what it throws about a key gains file and line (YamlDocument::in_place).
  void in_place(const std::function<void()>& work, const std::string& section = "") const;
  std::string output() const { return run.output.empty() ? "runs/" + run.name : run.output; }
};
void describe(Fields& f, RunConfig& c);

// Reads and checks a file. Throws ConfigError.
RunConfig load_run_config(const std::string& path, const std::vector<std::string>& overrides);

}  // namespace limbic::launch
