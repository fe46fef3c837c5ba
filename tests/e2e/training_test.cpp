// Training learns: SFT in full and with LoRA, curricula, GRPO, and a pipeline of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "tests/support/model_folder.h"
#include "tests/support/workplace.h"

namespace limbic::test {
namespace {

using testing::Each;

constexpr const char* kLora = "lora: {r: 8, alpha: 16}\n";

double mean(const std::vector<double>& values, std::size_t begin, std::size_t count) {
  const auto first = values.begin() + static_cast<std::ptrdiff_t>(begin);
  return std::accumulate(first, first + static_cast<std::ptrdiff_t>(count), 0.0) /
         static_cast<double>(count);
}

class Training : public testing::Test {
 protected:
  void train(const std::string& text, const std::vector<std::string>& overrides = {}) {
    std::vector<std::string> arguments = {"train", place_.write_config(text), "--quiet"};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    expect_ok(run_limbic(arguments));
  }

  Workplace place_;
};

std::string sft(const std::string& more) {
  return "stages:\n  - {name: s, type: sft, data: d, logging_steps: 1, save_steps: 0, "
         "per_device_train_batch_size: 4, " +
         more + "}\n";
}

TEST_F(Training, SftOverfitsEightRows) {
  place_.write_rows("rows.jsonl", chats(8));
  train(sft("steps: 200, learning_rate: 1.0e-2"));
  const auto losses = place_.metric("loss", "s");
  ASSERT_EQ(losses.size(), 200U);
  EXPECT_LT(losses.back(), 0.1 * losses.front());
  // Greedy generation says what was learned.
  std::vector<Json> questions = chats(8);
  for (Json& row : questions) row["messages"].erase(1);
  place_.write_rows("in.jsonl", questions);
  expect_ok(run_limbic({"generate", "--model", place_.file("out/final"), "--input",
                        place_.file("in.jsonl"), "--output", place_.file("said.jsonl"),
                        "--temperature", "0", "--max-new-tokens", "40"}));
  const auto said = place_.read_rows("said.jsonl");
  for (std::size_t i = 0; i < said.size(); ++i) {
    EXPECT_EQ(said[i]["completions"][0]["text"], chats(8)[i]["messages"][1]["content"]);
    EXPECT_EQ(said[i]["completions"][0]["finish_reason"], "stop");
  }
}

TEST_F(Training, LoraOverfitsEightRowsAndItsFolderLoads) {
  place_.write_rows("rows.jsonl", chats(8));
  // Adapters leave the head as it is; this one is large enough to be sure of a token.
  auto weights = tiny_weights();
  for (float& value : weights.back().values) value *= 6;
  write_tensors(place_.file("model/model.safetensors"), weights);
  train(kLora + sft("steps: 200, learning_rate: 1.0e-2"));
  const auto losses = place_.metric("loss", "s");
  EXPECT_LT(losses.back(), 0.1 * losses.front());
  EXPECT_TRUE(std::filesystem::exists(place_.file("out/s/adapter_model.safetensors")));
  EXPECT_FALSE(std::filesystem::exists(place_.file("out/s/model.safetensors")));
  // The loss of another run that starts from the folder goes on where this one ended.
  train(kLora + sft("steps: 1, learning_rate: 1.0e-6"),
        {"model.adapter=" + place_.file("out/final"), "run.output=" + place_.file("again")});
  EXPECT_NEAR(place_.metric("loss", "s", "again").front(), losses.back(), 0.05 * losses.front());
}

TEST_F(Training, CurriculaGoFromLevelToLevel) {
  place_.write_rows("rows.jsonl", chats(24));
  for (const char* difficulty : {"column:n", "length", "loss"}) {
    const std::string run = "run-" + std::string(difficulty).substr(0, 4);
    train(sft("learning_rate: 1.0e-3, curriculum: {difficulty: "
              "'" +
              std::string(difficulty) + "', buckets: 3, schedule: cumulative}"),
          {"run.output=" + place_.file(run)});
    // Levels of 8, 16 and 24 rows, one epoch each, 4 rows a step.
    EXPECT_EQ(place_.metric("curriculum/level", "s", run),
              (std::vector<double>{0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}))
        << difficulty;
  }
}

TEST_F(Training, GrpoRaisesTheReward) {
  place_.write_rows("rows.jsonl", prompts(4));
  train(
      "rewards: {graph: {name: letter, type: regex, pattern: '[a-f]'}}\n"
      "stages:\n  - {name: g, type: grpo, data: d, steps: 60, num_generations: 8, "
      "per_device_train_batch_size: 32, max_completion_length: 4, learning_rate: 1.0e-2, "
      "logging_steps: 1, save_steps: 0}\n");
  const auto rewards = place_.metric("reward", "g");
  ASSERT_EQ(rewards.size(), 60U);
  EXPECT_GT(mean(rewards, 50, 10), mean(rewards, 0, 10) + 0.3);
  // Sampling and training are one model.
  EXPECT_THAT(place_.metric("sampling/sampling_logp_difference/max", "g"), Each(testing::Lt(1e-3)));
  const auto completions = place_.read_rows("out/completions.jsonl");
  ASSERT_FALSE(completions.empty());
  EXPECT_TRUE(completions[0].at("components").at("letter").contains("value"));
}

TEST_F(Training, RewardsThatAreAllEqualChangeNothing) {
  place_.write_rows("rows.jsonl", prompts(4));
  train(
      "rewards: {graph: {name: any, type: length, min: 0, unit: tokens}}\n"
      "stages:\n  - {name: g, type: grpo, data: d, steps: 3, num_generations: 4, "
      "per_device_train_batch_size: 8, max_completion_length: 4, learning_rate: 1.0e-1, "
      "logging_steps: 1}\n");
  EXPECT_THAT(place_.metric("reward", "g"), Each(1.0));
  EXPECT_THAT(place_.metric("loss", "g"), Each(0.0));
  EXPECT_THAT(place_.metric("grad_norm", "g"), Each(0.0));
}

// A reward that is not finite is a failed one: its group takes no part, or the run stops.
TEST_F(Training, InfiniteRewardsNeverBecomeNumbers) {
  std::vector<Json> rows = prompts(4);
  for (Json& row : rows) row["label"] = "abcdefghijklm";
  place_.write_rows("rows.jsonl", rows);
  // 0 for a completion without any of these letters, else beyond the range of numbers.
  const std::string text =
      "rewards:\n  graph:\n    combine: sum\n    terms:\n      - {name: huge, type: set, column: "
      "label, pattern: '[a-z]', affine: [1.7e308, 0], weight: 100}\n"
      "stages:\n  - {name: g, type: grpo, data: d, steps: 6, num_generations: 4, "
      "per_device_train_batch_size: 16, max_completion_length: 4, logging_steps: 1}\n";
  train(text);
  const auto dropped = place_.metric("rewards/dropped_groups", "g");
  EXPECT_GT(std::accumulate(dropped.begin(), dropped.end(), 0.0), 0.0);
  EXPECT_THAT(place_.metric("loss", "g"), testing::SizeIs(6));  // numbers, all of them
  EXPECT_THAT(place_.metric("reward", "g"), Each(0.0));
  const Ended strict =
      run_limbic({"train", place_.file("config.yaml"), "--quiet", "rewards.on_failure=fail_step",
                  "run.output=" + place_.file("b")});
  EXPECT_EQ(strict.code, 76) << strict.err;
  ASSERT_EQ(error_lines(strict).size(), 1U) << strict.err;
  EXPECT_THAT(error_lines(strict)[0], testing::HasSubstr("fail_step"));
}

TEST_F(Training, APipelineRunsOnceAndIsSkippedAfterwards) {
  place_.write_rows("rows.jsonl", prompts(8));
  const std::string text =
      std::string(kLora) +
      "rewards: {graph: {name: right, type: regex, pattern: '[ab]'}}\n"
      "stages:\n"
      "  - {name: s, type: sft, data: t, steps: 10, per_device_train_batch_size: 4, learning_rate: "
      "1.0e-2, logging_steps: 1}\n"
      "  - {name: e1, type: eval, data: d, max_completion_length: 2, metrics: [accuracy]}\n"
      "  - {name: g, type: grpo, data: d, steps: 4, num_generations: 4, "
      "per_device_train_batch_size: 8, max_completion_length: 4, logging_steps: 1, beta: 0.1}\n"
      "  - {name: e2, type: eval, data: d, max_completion_length: 2, metrics: [accuracy]}\n"
      "  - {name: m, type: merge}\n";
  const std::vector<std::string> responses = {"datasets.t.path=" + place_.file("rows.jsonl"),
                                              "datasets.t.response='{label}'"};
  train(text, responses);
  const Json summary = place_.read_json("out/summary.json");
  std::vector<std::string> names;
  for (const Json& stage : summary.at("stages")) names.push_back(stage.at("name"));
  EXPECT_EQ(names, (std::vector<std::string>{"s", "e1", "g", "e2", "m"}));
  EXPECT_EQ(summary["stages"][2].at("lineage").at("parent"), "s");
  EXPECT_EQ(std::filesystem::read_symlink(place_.file("out/final")), "g");
  EXPECT_TRUE(std::filesystem::exists(place_.file("out/m/model.safetensors")));
  EXPECT_TRUE(place_.read_json("out/e2/table.json").at("accuracy").is_number());

  const auto before = place_.snapshot("out");
  train(text, responses);
  EXPECT_THAT(changes(before, place_.snapshot("out")), testing::IsEmpty());
}

}  // namespace
}  // namespace limbic::test
