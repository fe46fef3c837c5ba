#include "launch/config/run_config.h"

#include <algorithm>
#include <set>

#include "rl/policy/credit.h"
#include "trainer/base/error.h"

namespace limbic::launch {
namespace {

bool is_plain_name(const std::string& name) {
  return !name.empty() && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
         });
}

void describe_dtype(Fields& f, Dtype& dtype, const char* help) {
  f.choice("dtype", dtype,
           {{Dtype::kAuto, "auto"}, {Dtype::kFloat32, "float32"}, {Dtype::kBfloat16, "bfloat16"}},
           help);
}

// Announced, not part of this version.
void refuse_later_stages(Fields& f) {
  if (!f.reading() || !f.has("type")) return;
  std::string type;
  f.field("type", type, "");
  if (type == "synthesize")
    f.fail("type", "got 'synthesize', which this version does not have yet");
}

// Rules that span sections.
class CrossCheck {
 public:
  explicit CrossCheck(const RunConfig& c) : c_(c) {
    for (const auto& [name, dataset] : c.datasets) datasets_.push_back(name);
  }

  void run() {
    for (const StageConfig& stage : c_.stages) {
      if (!seen_.insert(stage.name).second) {
        throw ConfigError(
            fmt::format("stages.{}: got two stages of this name, want one", stage.name));
      }
      check_data(stage);
      check_start(stage);
      check_rewards(stage);
      if (stage.trains()) training_.push_back(stage.name);
    }
  }

 private:
  void check_data(const StageConfig& stage) {
    if (std::holds_alternative<MergeConfig>(stage.options)) return;
    const std::vector<std::string> names = stage.datasets();
    if (stage.data().empty()) {
      throw ConfigError(fmt::format("stages.{}.data: got nothing, want a dataset", stage.name));
    }
    for (const std::string& name : names) {
      if (std::find(datasets_.begin(), datasets_.end(), name) != datasets_.end()) continue;
      const std::string near = nearest_name(name, datasets_);
      throw ConfigError(fmt::format("stages.{}.data: got '{}', want one of: {}{}", stage.name, name,
                                    fmt::join(datasets_, ", "),
                                    near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
  }

  void check_start(const StageConfig& stage) {
    const bool merges = std::holds_alternative<MergeConfig>(stage.options);
    if (merges && stage.init_from.empty() && training_.empty()) {
      throw ConfigError(
          fmt::format("stages.{}: got merge without a training stage before it, want one "
                      "(limbic merge folds an adapter without a run)",
                      stage.name));
    }
    const bool known =
        std::find(training_.begin(), training_.end(), stage.init_from) != training_.end();
    if (!stage.init_from.empty() && !known) {
      throw ConfigError(fmt::format(
          "stages.{}.init_from: got '{}', want a training stage before it{}{}", stage.name,
          stage.init_from, training_.empty() ? "" : ": ", fmt::join(training_, ", ")));
    }
    if (merges && !c_.lora) {
      throw ConfigError(
          fmt::format("stages.{}: got merge with full fine-tuning, want a lora section; without "
                      "one there is no adapter to fold",
                      stage.name));
    }
  }

  void check_rewards(const StageConfig& stage) {
    const rl::PolicyConfig* policy = stage.policy();
    if (policy == nullptr) return;
    if (c_.rewards.remote.workers.empty() && !c_.rewards.graph) {
      throw ConfigError(
          fmt::format("stages.{}: got {} without rewards, want rewards.workers or "
                      "rewards.graph",
                      stage.name, stage.type()));
    }
    const std::string problem = rl::by_term_problem(*policy, c_.rewards);
    if (!problem.empty()) throw ConfigError(fmt::format("stages.{}.{}", stage.name, problem));
  }

  const RunConfig& c_;
  std::vector<std::string> datasets_, training_;
  std::set<std::string> seen_;
};

}  // namespace

void describe(Fields& f, RunSection& c) {
  f.field("name", c.name, "name of the run: letters, digits, . _ -");
  f.field("output", c.output, "folder for everything that the run leaves; empty = runs/NAME");
  f.field("seed", c.seed, "seed of every random choice", Bounds::at_least(0));
  f.field(
      "deterministic", c.deterministic,
      "the same bits for the same seed, config, world size and device; false is not faster on a "
      "CPU");
  f.choice("device", c.device,
           {{Device::kAuto, "auto"}, {Device::kCpu, "cpu"}, {Device::kCuda, "cuda"}},
           "auto takes a GPU when a driver, a device and liblimbic_cuda.so beside the binary are "
           "there; ranks take the devices of their machine in turn");
  describe_dtype(
      f, c.dtype,
      "compute type; auto = bfloat16 on processors and GPUs that have it. Trained weights, LoRA "
      "and moments stay float32");
  f.field("threads", c.threads, "per rank; 0 = OMP_NUM_THREADS, else cores / local ranks",
          Bounds::between(0, 1024));
  if (f.reading() && !is_plain_name(c.name)) {
    f.fail("name", fmt::format("got '{}', want letters, digits, . _ -", c.name));
  }
}

void describe(Fields& f, ModelSection& c) {
  f.field("path", c.path, "a Hugging Face model folder");
  f.field("adapter", c.adapter, "start from this PEFT folder; empty = none");
  f.field("chat_template", c.chat_template, "file that replaces the folder's chat template");
  f.field("extra_special_tokens", c.extra_special_tokens,
          "tokens to add to the vocabulary; not part of this version");
  f.choice("init", c.init, {{Init::kPretrained, "pretrained"}, {Init::kRandom, "random"}},
           "random = fresh weights from config.json alone");
  f.field("template_variables", c.template_variables,
          "further variables of the chat template, {enable_thinking: false}");
  if (!f.reading()) return;
  if (!c.extra_special_tokens.empty()) {
    f.fail("extra_special_tokens",
           fmt::format("got {} tokens, want none; this version does not resize embeddings yet",
                       c.extra_special_tokens.size()));
  }
  if (!c.template_variables.is_object()) {
    f.fail("template_variables", "got no section, want {NAME: VALUE}");
  }
}

void describe(Fields& f, ParallelSection& c) {
  f.choice("backend", c.backend,
           {{Backend::kAuto, "auto"},
            {Backend::kLocal, "local"},
            {Backend::kMpi, "mpi"},
            {Backend::kNccl, "nccl"}},
           "how ranks exchange: auto = mpi under mpirun or srun, else local; tensors on GPUs by "
           "nccl when every rank has a GPU of its own, else by way of host memory");
  f.field("zero_stage", c.zero_stage,
          "0 = every rank keeps everything; each rank keeps its share of 1 = the optimizer's "
          "moments, 2 = and the gradients, 3 = and the weights; the same bits in all of them",
          Bounds::between(0, 3));
  f.field(
      "shard_ranks", c.shard_ranks,
      "neighbouring ranks, so many at a time, share one copy of everything: those of a node, so "
      "that between nodes only the sums travel; divides the ranks; 0 = all ranks share one",
      Bounds::at_least(0));
  f.field("bucket_mb", c.bucket_mb, "gradients travel in pieces of this size", Bounds::positive());
  f.field("overlap", c.overlap,
          "gradients travel while the backward pass still runs, weights while the forward pass "
          "does (on CPUs); the same bits either way");
  f.choice("communication_data_type", c.communication_data_type,
           {{WireType::kFloat32, "float32"}, {WireType::kBfloat16, "bfloat16"}},
           "type in which gradients travel; bfloat16 halves the bytes, sums are of float32");
  f.field("timeout_s", c.timeout_s, "longest wait for another rank", Bounds::positive());
}

void describe(Fields& f, MergeConfig& c) {
  describe_dtype(f, c.dtype, "type of the written weights; auto = float32");
}

const char* StageConfig::type() const {
  static constexpr const char* kTypes[] = {"sft", "grpo", "dpo", "chord", "eval", "merge"};
  return kTypes[options.index()];
}

const engine::TrainConfig* StageConfig::train() const {
  return std::visit(
      [](const auto& c) -> const engine::TrainConfig* {
        if constexpr (requires { c.train; }) return &c.train;
        return nullptr;
      },
      options);
}

const rl::PolicyConfig* StageConfig::policy() const {
  if (const auto* grpo = std::get_if<rl::GrpoConfig>(&options)) return grpo;
  return std::get_if<rl::ChordConfig>(&options);
}

std::vector<std::string> StageConfig::data() const {
  return std::visit(
      [](const auto& c) -> std::vector<std::string> {
        if constexpr (requires { c.data; }) return c.data;
        return {};
      },
      options);
}

std::vector<std::string> StageConfig::datasets() const {
  std::vector<std::string> names = data();
  if (const auto* chord = std::get_if<rl::ChordConfig>(&options)) {
    names.insert(names.end(), chord->sft_data.begin(), chord->sft_data.end());
  }
  return names;
}

void describe(Fields& f, StageConfig& c) {
  f.require("name");
  f.field("name", c.name, "name of the stage and of its folder in the output");
  f.field("init_from", c.init_from,
          "training stage whose result it starts from; empty = the last one before it");
  refuse_later_stages(f);
  f.variant("type", c.options, {"sft", "grpo", "dpo", "chord", "eval", "merge"}, "kind of stage");
  if (!f.reading()) return;
  // What else a run leaves in its folder.
  static const std::set<std::string> taken = {
      "checkpoints",  "final",   "config.resolved.yaml", "metrics.jsonl", "completions.jsonl",
      "summary.json", "run.json"};
  if (!is_plain_name(c.name)) {
    f.fail("name", fmt::format("got '{}', want letters, digits, . _ -", c.name));
  }
  if (taken.count(c.name) > 0 || c.name.ends_with(".unfinished")) {
    f.fail("name", fmt::format("got '{}', want a name that a run does not use itself", c.name));
  }
}

void describe(Fields& f, EvalSection& c) {
  f.field("predictions", c.predictions,
          "JSON-lines file with the columns prediction and label to score instead of a model");
  f.field("output", c.output, "folder of predictions.jsonl and table.json; empty = OUTPUT/eval");
  describe(f, c.options);
}

void describe(Fields& f, RunConfig& c) {
  f.section("run", c.run, "what the run is called, where it writes, how it computes");
  f.section("model", c.model, "the model that the first stage starts from");
  f.section("lora", c.lora, "low-rank adapters; absent = full fine-tuning");
  f.section("parallel", c.parallel, "data-parallel ranks");
  f.map("datasets", c.datasets, "data by name");
  f.section("rewards", c.rewards, "how completions are scored");
  f.section("serve", c.serve, "where `limbic serve` listens");
  f.list("stages", c.stages, "what is done, in order");
  f.section("eval", c.eval, "what `limbic eval` measures; absent = the eval stages");
  if (f.reading()) CrossCheck(c).run();
}

void RunConfig::in_place(const std::function<void()>& work, const std::string& section) const {
  if (source) {
    source->in_place(work, section);
  } else {
    work();
  }
}

RunConfig load_run_config(const std::string& path, const std::vector<std::string>& overrides) {
  RunConfig config;
  config.source = std::make_shared<const YamlDocument>(YamlDocument::load(path, overrides));
  config.in_place([&] { config.source->read(config); });
  return config;
}

}  // namespace limbic::launch
