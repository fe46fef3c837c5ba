#include "tests/support/test_run.h"

namespace limbic::engine {

data::Tokenizer letter_tokenizer(const test::TempFolder& folder) {
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

TestRun::TestRun(parallel::Communicator& communicator, const std::string& run_folder,
                 model::Decoder trained)
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

std::string TestRun::add_dataset(const std::string& name, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  const std::string file = folder_.write(name + ".jsonl", text);
  data::DatasetConfig config;
  config.path = {file};
  datasets_.emplace(name, data::Dataset::load(name, config, 0));
  return file;
}

}  // namespace limbic::engine
