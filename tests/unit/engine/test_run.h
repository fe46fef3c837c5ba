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
#include "tests/unit/data/temp_folder.h"
#include "tests/unit/model/tiny_model.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"
#include "trainer/engine/stage.h"

namespace limbic::engine {

inline constexpr std::int32_t kTurnBegin = 55, kTurnEnd = 56, kEndOfSequence = 57;

inline constexpr const char* kChatMl =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

// a-z are 0-25, a space is 26, a line feed 27, 0-9 are 28-37.
inline data::Tokenizer letter_tokenizer(const data::TempFolder& folder) {
  nlohmann::json vocabulary;
  for (int i = 0; i < 26; ++i) vocabulary[std::string(1, static_cast<char>('a' + i))] = i;
  vocabulary["\u0120"] = 26;
  vocabulary["\u010a"] = 27;
  for (int i = 0; i < 10; ++i) vocabulary[std::string(1, static_cast<char>('0' + i))] = 28 + i;
  nlohmann::json added = nlohmann::json::array();
  const std::pair<int, const char*> specials[] = {
      {kTurnBegin, "<|im_start|>"}, {kTurnEnd, "<|im_end|>"}, {kEndOfSequence, "</s>"}};
  for (const auto& [id, content] : specials) {
    added.push_back({{"id", id},
                     {"content", content},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", true},
                                     {"use_regex", true}};
  const nlohmann::json file = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level},
      {"post_processor", nullptr},
      {"decoder", byte_level},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}}};
  folder.write("tokenizer.json", file.dump());
  folder.write("tokenizer_config.json", R"({"eos_token": "</s>"})");
  return data::Tokenizer::load(folder.file(""));
}

// One rank's side of a run in `run_folder`.
class TestRun {
 public:
  TestRun(parallel::Communicator& communicator, const std::string& run_folder,
          model::Decoder trained = model::tiny_model(model::WeightUse::kTrained))
      : decoder(std::move(trained)),
        tokenizer(letter_tokenizer(folder_)),
        chat_template(data::ChatTemplate::parse(kChatMl, "test.jinja", Json::object())),
        metrics(run_folder + "/metrics.jsonl", communicator.rank() == 0),
        completions(run_folder + "/completions.jsonl", communicator.rank() == 0),
        context{.communicator = communicator,
                .decoder = decoder,
                .tokenizer = tokenizer,
                .chat_template = chat_template,
                .template_variables = template_variables,
                .dataset = [this](const std::string& name) -> const data::Dataset& {
                  return datasets_.at(name);
                },
                .rewards = rewards,
                .metrics = metrics,
                .completions = completions,
                .progress = progress,
                .parallelism = {},
                .run_folder = run_folder,
                .stage_name = "stage",
                .config_hash = "hash",
                .seed = 3,
                .resume = true,
                .resume_from = "",
                .stop_requested = stop_requested} {}

  // Makes the lines a dataset. Returns the file, as messages name it.
  std::string add_dataset(const std::string& name, const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    const std::string file = folder_.write(name + ".jsonl", text);
    data::DatasetConfig config;
    config.path = {file};
    datasets_.emplace(name, data::Dataset::load(name, config, 0));
    return file;
  }

 private:
  data::TempFolder folder_;
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
