// `limbic generate`: batch generation.
#include <chrono>

#include "launch/commands/chat_rows.h"
#include "launch/commands/commands.h"
#include "launch/commands/row_files.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/base/seed.h"
#include "trainer/engine/stop_tokens.h"
#include "trainer/generation/generator.h"

namespace limbic::launch {
namespace {

struct GenerateOptions {
  ModelOptions model;
  std::string input, output;
  std::int64_t max_new_tokens = 256, top_k = 0, n = 1, batch = 64;
  double temperature = 1.0, top_p = 1.0;
  std::uint64_t seed = 0;
  bool ignore_eos = false;
};

Json completion_json(const LoadedModel& model, const generation::Completion& completion,
                     bool greedy) {
  Json out = {{"text", engine::completion_text(model.text.tokenizer, completion, true)},
              {"ids", completion.ids},
              {"logprobs", completion.logprobs}};
  if (!greedy) out["sampling_logprobs"] = completion.sampling_logprobs;
  out["finish_reason"] = completion.stopped ? "stop" : "length";
  return out;
}

// What was generated and how fast, loading and writing left out.
struct Throughput {
  std::size_t completions = 0, tokens = 0;
  double seconds = 0.0;

  void report() const {
    spdlog::info("generated {} completions, {} tokens in {:.2f} s, {:.0f} tokens/s", completions,
                 tokens, seconds, seconds > 0.0 ? static_cast<double>(tokens) / seconds : 0.0);
  }
};

int generate(const GenerateOptions& options) {
  const LoadedModel model = load_model(options.model);
  const generation::GenerationConfig settings{
      .sampling = {.temperature = options.temperature,
                   .top_p = options.top_p,
                   .top_k = options.top_k},
      .max_new_tokens = options.max_new_tokens,
      .group = options.n,
      .stop_tokens = engine::stop_tokens(model.decoder->config(), model.text.tokenizer,
                                         model.text.chat_template),
      .ignore_stop = options.ignore_eos,
      .max_batch = options.batch};
  const std::int64_t room = model.decoder->config().longest_sequence - options.max_new_tokens;
  if (room < 1) {
    throw ConfigError(
        fmt::format("--max-new-tokens: got {}, want less than the model's {} positions",
                    options.max_new_tokens, model.decoder->config().longest_sequence));
  }
  std::uint64_t index = 0;
  Throughput done;
  const auto chunk = static_cast<std::size_t>(std::max<std::int64_t>(1, options.batch / options.n));
  transform_rows(options.input, options.output, chunk, [&](const std::vector<RowText>& rows) {
    std::vector<generation::Prompt> prompts;
    for (const RowText& row : rows) {
      prompts.push_back({.ids = prompt_ids(model.text, row.row, model.decoder->config()),
                         .seed = derive_seed(options.seed, "generate", index++)});
      if (static_cast<std::int64_t>(prompts.back().ids.size()) > room) {
        data::fail_row(
            row.row,
            fmt::format("got a prompt of {} tokens, want at most {} (the model's positions "
                        "less --max-new-tokens)",
                        prompts.back().ids.size(), room));
      }
    }
    std::vector<NewFields> fields;
    const auto start = std::chrono::steady_clock::now();
    const auto groups = generation::generate(*model.decoder, prompts, settings);
    done.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (std::size_t i = 0; i < groups.size(); ++i) {
      Json completions = Json::array();
      for (const auto& completion : groups[i]) {
        with_place(rows[i].row, [&] {
          completions.push_back(completion_json(model, completion, options.temperature == 0.0));
        });
        done.tokens += completion.ids.size();
      }
      done.completions += groups[i].size();
      fields.push_back({{"completions", completions.dump()}});
    }
    return fields;
  });
  done.report();
  return 0;
}

}  // namespace

void add_generate(Command limbic) {
  Command command = limbic.add("generate", "batch generation");
  auto options = std::make_shared<GenerateOptions>();
  add_model_options(command, options->model);
  command.option("--input", options->input, "rows of {\"prompt\"}, {\"messages\"} or {\"ids\"}")
      .required();
  command.option("--output", options->output, "rows with completions").required();
  command.option("--max-new-tokens", options->max_new_tokens, "longest completion (256)")
      .whole_number(1, 1 << 30);
  command.option("--temperature", options->temperature, "0 = greedy (1)").number(0);
  command.option("--top-p", options->top_p, "nucleus mass (1)").number(1e-9, 1.0);
  command.option("--top-k", options->top_k, "likeliest tokens kept; 0 = all (0)").whole_number(0);
  command.option("--n", options->n, "completions per row (1)").whole_number(1, 1 << 20);
  command.option("--seed", options->seed, "seed of the draws (0)").whole_number(0);
  command.option("--batch", options->batch, "sequences decoded at a time (64)")
      .whole_number(1, 1 << 20);
  command.flag("--ignore-eos", options->ignore_eos, "end tokens may be drawn and end nothing");
  command.example(
      "limbic generate --model models/SmolLM2-135M-Instruct --input rows.jsonl --output "
      "out.jsonl --temperature 0 --max-new-tokens 64");
  command.runs([options] { return generate(*options); });
}

}  // namespace limbic::launch
