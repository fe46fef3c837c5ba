#include "launch/commands/inspect.h"

#include <unistd.h>

#include <iostream>

#include "launch/commands/commands.h"
#include "launch/run/stage_runner.h"
#include "rl/dpo/dpo_stage.h"
#include "rl/dpo/preference_rows.h"
#include "rl/eval/eval_stage.h"
#include "rl/policy/policy_stream.h"
#include "rl/policy/rollout.h"
#include "trainer/base/error.h"
#include "trainer/engine/encode_rows.h"
#include "trainer/sft/sft_stage.h"

namespace limbic::launch {
namespace {

constexpr std::size_t kShownRows = 2;

struct Parameters {
  std::int64_t model = 0;
  std::int64_t trained = 0;
};

// Weights of the modules that LoRA would adapt, rank r each: r * (in + out); and of those that it
// would train as a whole.
Parameters count_parameters(model::Decoder& decoder, const RunConfig& config) {
  Parameters out;
  for (const model::WeightSlot& slot : model::weight_slots(decoder)) {
    std::int64_t elements = 1;
    for (const std::int64_t size : slot.shape) elements *= size;
    out.model += elements;
    const bool in_layer =
        slot.linear != nullptr && !slot.is_bias && slot.name.find(".layers.") != std::string::npos;
    if (!config.lora) continue;
    const std::string module =
        slot.name.substr(0, slot.name.size() - std::string(".weight").size());
    for (const std::string& name : config.lora->modules_to_save) {
      if (module == name || module.ends_with("." + name)) out.trained += elements;
    }
    if (!in_layer) continue;
    for (const std::string& target : config.lora->target_modules) {
      if (!model::is_target(module, target)) continue;
      out.trained += config.lora->r * (slot.shape[0] + slot.shape[1]);
      break;
    }
  }
  if (!config.lora) out.trained = out.model;
  return out;
}

void show_memory(const Parameters& parameters, const RunConfig& config, const Place& place,
                 int world) {
  const bool bf16 = place.compute == at::kBFloat16;
  const double mb = 1.0 / (1024.0 * 1024.0);
  const auto model = static_cast<double>(parameters.model);
  const auto trained = static_cast<double>(parameters.trained);
  const auto share = [&](std::int64_t from) {
    return config.parallel.zero_stage >= from ? static_cast<double>(world) : 1.0;
  };
  const double compute = bf16 ? model * 2 : (config.lora ? model * 4 : 0.0);
  const std::string where = place.device.is_cpu()
                                ? fmt::format("{} thread{} per rank", at::get_num_threads(),
                                              at::get_num_threads() == 1 ? "" : "s")
                                : fmt::format("{} {}", place.device.str(), place.name);
  std::cout << fmt::format("compute    {} ({})\n", bf16 ? "bfloat16" : "float32", where);
  std::cout << fmt::format("parameters {} in the model, {} trained ({:.2f} %)\n", parameters.model,
                           parameters.trained, 100.0 * trained / model);
  std::cout << fmt::format(
      "memory     per rank: model {:.0f} MB, trained weights {:.0f} MB, gradients {:.0f} MB, "
      "moments "
      "{:.0f} MB, and activations\n",
      compute / share(3) * mb, trained * 4 / share(3) * mb, trained * 4 / share(2) * mb,
      trained * 8 / share(1) * mb);
}

// Tokens with a loss in green (or in [[ ]] where there is no terminal).
void show_example(const data::Example& example, const data::Tokenizer& tokenizer, bool colour) {
  std::size_t begin = 0;
  while (begin < example.ids.size()) {
    std::size_t end = begin;
    while (end < example.ids.size() && example.loss_mask[end] == example.loss_mask[begin]) ++end;
    const std::string text =
        tokenizer.decode(std::span(example.ids).subspan(begin, end - begin), false);
    if (example.loss_mask[begin] == 0)
      std::cout << text;
    else
      std::cout << (colour ? "\x1b[32m" : "[[") << text << (colour ? "\x1b[0m" : "]]");
    begin = end;
  }
  std::cout << "\n\n";
}

class Inspection {
 public:
  Inspection(const RunConfig& config, int world)
      : config_(config),
        world_(world),
        text_(load_text(config.model.path, config.model.chat_template)),
        place_(choose_place(config.run)),
        decoder_(model::ModelConfig::load(config.model.path), place_.compute, at::kCPU),
        communicator_(parallel::make_local()),
        datasets_(config) {}

  void run() {
    std::cout << fmt::format("run        {} -> {}\nmodel      {} ({})\nranks      {}\n",
                             config_.run.name, config_.output(), config_.model.path,
                             decoder_.config().architecture, world_);
    show_memory(count_parameters(decoder_, config_), config_, place_, world_);
    for (const StageConfig& stage : config_.stages) {
      config_.in_place([&] { show_stage(stage); }, "stages." + stage.name);
    }
  }

 private:
  void show_stage(const StageConfig& stage) {
    std::cout << fmt::format("\n== {} ({})\n", stage.name, stage.type());
    if (std::holds_alternative<MergeConfig>(stage.options)) return;
    engine::RunContext context = make_context(stage.name);
    const data::Mixture rows = engine::mixture_of(context, stage.data());
    std::cout << fmt::format("rows       {}\n", rows.size());
    if (const auto* sft = std::get_if<sft::SftConfig>(&stage.options)) {
      show_sft(*sft, context, rows);
    } else if (const auto* dpo = std::get_if<rl::DpoConfig>(&stage.options)) {
      show_dpo(*dpo, context, rows);
    } else if (const rl::PolicyConfig* policy = stage.policy()) {
      show_policy(*policy, context, rows);
    } else if (const auto* eval = std::get_if<eval::EvalConfig>(&stage.options)) {
      eval::check_labels(*eval, rows);
    }
  }

  void show_sft(const sft::SftConfig& config, const engine::RunContext& context,
                const data::Mixture& rows) {
    std::cout << fmt::format("steps      {}\n", sft::total_steps(config, rows.size(), world_));
    const std::vector<data::Example> batch = sft::first_batch(context, config);
    std::int64_t tokens = 0;
    for (const data::Example& example : batch)
      tokens += static_cast<std::int64_t>(example.ids.size());
    std::cout << fmt::format(
        "first step {} rows, {} tokens on this rank; the learned part is {}\n\n", batch.size(),
        tokens, learned_mark());
    for (std::size_t i = 0; i < std::min(kShownRows, batch.size()); ++i) {
      show_example(batch[i], text_.tokenizer, colour_);
    }
  }

  void show_dpo(const rl::DpoConfig& config, const engine::RunContext& context,
                const data::Mixture& rows) {
    const std::int64_t room =
        std::min(config.train.max_length, decoder_.config().max_position_embeddings);
    const auto pairs = rl::encode_pairs(context, rows, {room, config.train.overlong});
    std::cout << fmt::format(
        "steps      {}\nfirst pair what both begin with, then the chosen and the rejected reply; "
        "the compared part is {}\n\n",
        rl::total_steps(config, static_cast<std::int64_t>(pairs.size()), world_), learned_mark());
    show_example(pairs.front().family.first, text_.tokenizer, colour_);
    for (const data::Example& reply : pairs.front().family.rest) {
      show_example(reply, text_.tokenizer, colour_);
    }
  }

  void show_policy(const rl::PolicyConfig& config, const engine::RunContext& context,
                   const data::Mixture& rows) {
    rl::check_scoring(config, config_.rewards, rows, world_);
    std::cout << fmt::format("steps      {}\nrollout    {} prompts x {} completions\n",
                             rl::total_steps(config, rows.size(), world_),
                             rl::prompts_per_rollout(config, world_), config.num_generations);
    const auto prompts = engine::encode_prompts(
        context, rows, {rl::longest_prompt(context, config), config.train.overlong},
        engine::PromptUse::kLearn);
    std::cout << "\n" << text_.tokenizer.decode(prompts.front().ids, false) << "\n";
  }

  const char* learned_mark() const { return colour_ ? "green" : "in [[ ]]"; }

  engine::RunContext make_context(const std::string& stage) {
    return {.communicator = *communicator_,
            .decoder = decoder_,
            .tokenizer = text_.tokenizer,
            .chat_template = text_.chat_template,
            .template_variables = config_.model.template_variables,
            .dataset = [this](const std::string& name) -> const data::Dataset& {
              return datasets_.get(name);
            },
            .rewards = config_.rewards,
            .metrics = silent_,
            .completions = silent_,
            .progress = progress_,
            .parallelism = {},
            .run_folder = config_.output(),
            .stage_name = stage,
            .config_hash = "",
            .seed = static_cast<std::uint64_t>(config_.run.seed),
            .resume_from = "",
            .stop_requested = stop_};
  }

  const RunConfig& config_;
  int world_;
  Text text_;
  Place place_;
  model::Decoder decoder_;  // its shapes; no weights
  std::unique_ptr<parallel::Communicator> communicator_;
  DatasetStore datasets_;
  metrics::MetricsLog silent_{"", false};
  metrics::Progress progress_{false, false};
  std::atomic<bool> stop_{false};
  bool colour_ = isatty(STDOUT_FILENO) != 0;
};

}  // namespace

void inspect(const RunConfig& config, int world) { Inspection(config, world).run(); }

void add_inspect(Command limbic) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
    int ranks = 1;
  };
  Command command = limbic.add("inspect", "parameters, memory, steps and the first batch");
  auto options = std::make_shared<Options>();
  command.option("config", options->config, "experiment file").required();
  command.option("overrides", options->overrides, "section.key=value");
  command.option("--ranks", options->ranks, "world size to plan for (1)").whole_number(1, 1 << 20);
  command.example("limbic inspect configs/quickstart.yaml --ranks 2");
  command.runs([options] {
    const RunConfig config = load_run_config(options->config, options->overrides);
    set_threads(config.run.threads);
    config.in_place([&] { inspect(config, options->ranks); });
    return 0;
  });
}

}  // namespace limbic::launch
