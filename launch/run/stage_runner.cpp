#include "launch/run/stage_runner.h"

#include <filesystem>

#include "launch/model/model_folder.h"
#include "rl/chord/chord_stage.h"
#include "rl/dpo/dpo_stage.h"
#include "rl/eval/eval_stage.h"
#include "rl/grpo/grpo_stage.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/log.h"
#include "trainer/base/seed.h"
#include "trainer/parallel/collectives.h"
#include "trainer/sft/sft_stage.h"

namespace limbic::launch {
namespace {

// A decoder with what a stage may train, and how its result is saved.
struct StageModel {
  std::unique_ptr<model::Decoder> decoder;
  std::unique_ptr<model::Decoder> reference;  // only when the adapter cannot be switched off
  model::LoraConfig lora;
};

class StageRunner {
 public:
  StageRunner(RunState& state, const StageConfig& stage, const std::string& parent)
      : state_(state), config_(state.config), stage_(stage), parent_(parent) {}

  engine::StageResult run() {
    if (const auto* merge = std::get_if<MergeConfig>(&stage_.options)) return run_merge(*merge);
    StageModel model = load();
    engine::RunContext context = make_context(*model.decoder);
    if (!stage_.trains()) {
      return eval::run_eval(context, std::get<eval::EvalConfig>(stage_.options),
                            state_.folder.unfinished_folder(stage_.name));
    }
    engine::StageResult result = train(context, model.reference.get());
    save(model, result.steps);
    return result;
  }

 private:
  engine::StageResult train(engine::RunContext& context, const model::Decoder* reference) {
    const StageOptions& options = stage_.options;
    if (const auto* grpo = std::get_if<rl::GrpoConfig>(&options)) {
      return rl::run_grpo(context, *grpo, reference);
    }
    if (const auto* dpo = std::get_if<rl::DpoConfig>(&options)) {
      return rl::run_dpo(context, *dpo, reference);
    }
    if (const auto* chord = std::get_if<rl::ChordConfig>(&options)) {
      return rl::run_chord(context, *chord, reference);
    }
    return sft::run_sft(context, std::get<sft::SftConfig>(options));
  }

  bool with_lora() const { return config_.lora.has_value(); }

  StageModel load() {
    StageModel model;
    parallel::together(state_.communicator,
                       [&] { model = with_lora() ? load_lora() : load_full(); });
    return model;
  }

  std::uint64_t model_seed() const {
    return derive_seed(static_cast<std::uint64_t>(config_.run.seed), "weights");
  }

  // Preferences are held to the policy that the stage starts from, its adapter included.
  bool needs_start_model() const {
    const auto* dpo = std::get_if<rl::DpoConfig>(&stage_.options);
    return dpo != nullptr && !dpo->precompute_ref_log_probs;
  }

  std::unique_ptr<model::Decoder> load_frozen(const std::string& folder, Init init) const {
    return load_decoder(folder, init, model_seed(), state_.place.compute, state_.place.device,
                        model::WeightUse::kFrozen);
  }

  StageModel load_lora() {
    StageModel out;
    out.decoder = load_frozen(config_.model.path, config_.model.init);
    out.lora = *config_.lora;
    const std::string adapter =
        parent_.empty() ? config_.model.adapter : state_.folder.stage_folder(parent_);
    if (!adapter.empty()) {
      out.lora = model::load_adapter(*out.decoder, adapter, stage_.trains());
      if (needs_start_model()) {
        out.reference = load_frozen(config_.model.path, config_.model.init);
        model::load_adapter(*out.reference, adapter, false);
      }
    } else if (stage_.trains()) {
      model::attach_lora(*out.decoder, out.lora,
                         derive_seed(static_cast<std::uint64_t>(config_.run.seed), "lora"), true);
    }
    return out;
  }

  StageModel load_full() {
    StageModel out;
    const auto& [device, compute] = std::tie(state_.place.device, state_.place.compute);
    const std::string folder =
        parent_.empty() ? config_.model.path : state_.folder.stage_folder(parent_);
    const Init init = parent_.empty() ? config_.model.init : Init::kPretrained;
    const auto use = stage_.trains() ? model::WeightUse::kTrained : model::WeightUse::kFrozen;
    out.decoder = load_decoder(folder, init, model_seed(), compute, device, use);
    const rl::PolicyConfig* policy = stage_.policy();
    if (needs_start_model() || (policy != nullptr && policy->loss.kl.beta > 0.0)) {
      out.reference = load_frozen(folder, init);
    }
    if (parent_.empty() && !config_.model.adapter.empty()) {
      if (stage_.trains()) {
        throw ConfigError(
            fmt::format("model.adapter: got '{}' with full fine-tuning, want a lora section (or a "
                        "merged model)",
                        config_.model.adapter));
      }
      model::load_adapter(*out.decoder, config_.model.adapter, false);
    }
    return out;
  }

  engine::RunContext make_context(model::Decoder& decoder) {
    std::int64_t steps_done = 0;
    for (const StageRecord& record : state_.folder.finished()) steps_done += record.steps;
    return {
        .communicator = state_.communicator,
        .decoder = decoder,
        .tokenizer = state_.text.tokenizer,
        .chat_template = state_.text.chat_template,
        .template_variables = config_.model.template_variables,
        .dataset = [this](const std::string& name) -> const data::Dataset& {
          return state_.datasets.get(name);
        },
        .rewards = config_.rewards,
        .metrics = state_.metrics,
        .completions = state_.completions,
        .progress = state_.progress,
        .parallelism = {.zero_stage = config_.parallel.zero_stage,
                        .shard_ranks = config_.parallel.shard_ranks,
                        .bucket_bytes = static_cast<std::int64_t>(config_.parallel.bucket_mb * 1e6),
                        .overlap = config_.parallel.overlap,
                        .half_wire =
                            config_.parallel.communication_data_type == WireType::kBfloat16},
        .run_folder = state_.folder.path(),
        .stage_name = stage_.name,
        .config_hash = settings_hash(numeric_settings(config_, state_.communicator.size())),
        .steps_done = steps_done,
        .seed = static_cast<std::uint64_t>(config_.run.seed),
        .resume = state_.resume,
        .resume_from = resume_path(),
        .stop_requested = state_.stop_requested};
  }

  // The folder of `--resume PATH` when it belongs to this stage.
  std::string resume_path() const {
    if (state_.resume_from.empty()) return "";
    const auto step = std::filesystem::weakly_canonical(state_.resume_from);
    return step.parent_path().filename() == stage_.name ? step.string() : "";
  }

  // Every training stage that led here, and this one.
  ModelCard card(std::int64_t steps) const {
    ModelCard card{.base = config_.model.path,
                   .adapter = with_lora() && stage_.trains(),
                   .steps = {},
                   .config = settings_hash(numeric_settings(config_, state_.communicator.size())),
                   .rewards = {}};
    const auto add = [&](const StageConfig& stage, std::int64_t count, ModelCard::Hashes data) {
      card.steps.push_back(
          {fmt::format("{} ({}), {} steps", stage.name, stage.type(), count), std::move(data)});
      if (std::holds_alternative<rl::GrpoConfig>(stage.options)) add_rewards(card.rewards);
    };
    for (const StageConfig& stage : config_.stages) {
      const StageRecord* done = state_.folder.find(stage.name);
      if (done == nullptr || !stage.trains()) continue;
      ModelCard::Hashes data;
      for (const auto& [name, hash] : done->lineage.at("data").items()) {
        data.emplace_back(name, hash.get<std::string>());
      }
      add(stage, done->steps, std::move(data));
    }
    if (!stage_.trains()) return card;
    ModelCard::Hashes data;
    for (const std::string& name : stage_.data()) {
      data.emplace_back(name, state_.datasets.get(name).hash());
    }
    add(stage_, steps, std::move(data));
    return card;
  }

  void add_rewards(std::vector<std::string>& names) const {
    if (!names.empty()) return;
    for (const std::string& worker : config_.rewards.remote.workers) {
      names.push_back("worker " + worker);
    }
    if (names.empty() && config_.rewards.graph) add_terms(*config_.rewards.graph, names);
  }

  static void add_terms(const rewards::NodeConfig& node, std::vector<std::string>& names) {
    if (node.kind == rewards::NodeKind::kTerm) {
      names.push_back(fmt::format("{}, weight {}", rewards::node_name(node), node.weight));
    }
    for (const rewards::NodeConfig& child : node.terms) add_terms(child, names);
  }

  void save(const StageModel& model, std::int64_t steps) {
    parallel::together(state_.communicator, [&] {
      if (state_.communicator.rank() != 0) return;
      const std::string folder = state_.folder.unfinished_folder(stage_.name);
      if (with_lora()) {
        model::save_adapter(*model.decoder, model.lora, folder, config_.model.path);
        write_companions(config_.model.path, config_.model.chat_template, card(steps), folder);
      } else {
        write_model_folder(config_.model.path, config_.model.chat_template, *model.decoder,
                           model::export_weights(*model.decoder), at::kFloat, card(steps), folder);
      }
    });
  }

  engine::StageResult run_merge(const MergeConfig& merge) {
    engine::StageResult result;
    parallel::together(state_.communicator, [&] {
      if (state_.communicator.rank() != 0) return;
      const at::ScalarType type = merge.dtype == Dtype::kBfloat16 ? at::kBFloat16 : at::kFloat;
      const MergeResult merged = merge_adapter(
          config_.model.path, state_.folder.stage_folder(parent_), config_.model.chat_template,
          type, card(0), state_.folder.unfinished_folder(stage_.name));
      result.metrics = {{"modules", merged.report.modules},
                        {"largest_change", merged.report.largest_change},
                        {"relative_change", merged.report.relative_change},
                        {"logprob_drift", merged.drift}};
    });
    result.metrics =
        Json::parse(parallel::broadcast_text(state_.communicator, result.metrics.dump()));
    return result;
  }

  RunState& state_;
  const RunConfig& config_;
  const StageConfig& stage_;
  const std::string& parent_;
};

}  // namespace

const data::Dataset& DatasetStore::get(const std::string& name) {
  auto& slot = loaded_[name];
  if (slot) return *slot;
  for (const auto& [known, dataset] : config_.datasets) {
    if (known != name) continue;
    slot = std::make_unique<data::Dataset>(
        data::Dataset::load(name, dataset, static_cast<std::uint64_t>(config_.run.seed)));
    return *slot;
  }
  throw ConfigError(fmt::format("datasets: got no '{}', want it for a stage", name));
}

engine::StageResult run_stage(RunState& state, const StageConfig& stage,
                              const std::string& parent) {
  engine::StageResult result;
  state.config.in_place([&] { result = StageRunner(state, stage, parent).run(); },
                        "stages." + stage.name);
  return result;
}

}  // namespace limbic::launch
