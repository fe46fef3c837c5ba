// One run on one rank and on two is one run: losses, rewards and results agree.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/workplace.h"

namespace limbic::test {
namespace {

class Ranks : public testing::Test {
 protected:
  // Runs config.yaml on `ranks` ranks into the folder `run`.
  void train(int ranks, const std::string& run, const std::vector<std::string>& overrides) {
    std::vector<std::string> arguments = {"train", place_.file("config.yaml"), "--quiet",
                                          "run.output=" + place_.file(run)};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    if (ranks == 1) arguments.insert(arguments.begin(), limbic_binary());
    expect_ok(run_command(ranks == 1 ? arguments : mpirun(ranks, arguments)));
  }

  void expect_equal(const std::string& run, const std::string& name, double tolerance) {
    const auto got = place_.metric(name, "s", run);
    const auto want = place_.metric(name, "s", "one");
    ASSERT_EQ(got.size(), 20U) << run;
    ASSERT_EQ(want.size(), 20U);
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], tolerance * std::max(1e-3, std::abs(want[i])))
          << run << ": " << name << " of step " << i + 1;
    }
  }

  Workplace place_;
};

TEST_F(Ranks, SftComputesTheSameHoweverTheBatchIsCut) {
  place_.write_rows("rows.jsonl", chats(50));
  place_.write_config(
      "stages:\n  - {name: s, type: sft, data: d, steps: 20, learning_rate: 3.0e-3, "
      "logging_steps: 1, save_steps: 0}\n");
  const auto cut = [](int rows, int accumulation, std::vector<std::string> more = {}) {
    more.push_back("stages.s.per_device_train_batch_size=" + std::to_string(rows));
    more.push_back("stages.s.gradient_accumulation_steps=" + std::to_string(accumulation));
    return more;
  };
  train(1, "one", cut(8, 1));
  train(1, "two-parts", cut(4, 2));
  train(1, "unpacked", cut(8, 1, {"stages.s.packing=false"}));
  train(2, "zero-0", cut(4, 1, {"parallel.zero_stage=0"}));
  train(2, "zero-1", cut(4, 1, {"parallel.zero_stage=1"}));
  train(2, "both", cut(2, 2, {"stages.s.packing=false"}));
  for (const char* run : {"two-parts", "unpacked", "zero-0", "zero-1", "both"}) {
    expect_equal(run, "loss", 1e-4);
    expect_equal(run, "grad_norm", 1e-3);
    EXPECT_EQ(place_.metric("target_tokens", "s", run), place_.metric("target_tokens", "s", "one"));
  }
  const auto losses = place_.metric("loss", "s", "one");
  EXPECT_GT(losses.front(), 1.4 * losses.back());
}

TEST_F(Ranks, GrpoDrawsAndLearnsTheSame) {
  place_.write_rows("rows.jsonl", prompts(10));
  place_.write_config(
      "rewards: {graph: {name: letter, type: regex, pattern: '[a-m]'}}\n"
      "stages:\n  - {name: s, type: grpo, data: d, steps: 20, num_generations: 4, "
      "max_completion_length: 6, learning_rate: 1.0e-3, beta: 0.02, logging_steps: 1, "
      "save_steps: 0}\n");
  train(1, "one", {"stages.s.per_device_train_batch_size=16"});
  train(2, "two", {"stages.s.per_device_train_batch_size=8"});
  expect_equal("two", "reward", 1e-6);
  expect_equal("two", "completions/mean_length", 1e-6);
  expect_equal("two", "loss", 1e-4);
  expect_equal("two", "kl", 1e-3);
}

TEST_F(Ranks, PairsAreComparedTheSame) {
  std::vector<Json> rows;
  for (Json& row : prompts(11)) {
    row["chosen"] = "yes " + row["prompt"].get<std::string>();
    row["rejected"] = "no";
    rows.push_back(row);
  }
  place_.write_rows("rows.jsonl", rows);
  place_.write_config(
      "stages:\n  - {name: s, type: dpo, data: d, steps: 20, learning_rate: 1.0e-3, "
      "logging_steps: 1, save_steps: 0}\n");
  const auto rows_of = [](int count, std::vector<std::string> more = {}) {
    more.push_back("stages.s.per_device_train_batch_size=" + std::to_string(count));
    return more;
  };
  train(1, "one", rows_of(8));
  train(1, "parts", rows_of(2, {"stages.s.gradient_accumulation_steps=4"}));
  train(1, "unpacked", rows_of(8, {"stages.s.packing=false"}));
  train(2, "two", rows_of(4));
  train(2, "kept", rows_of(4, {"stages.s.precompute_ref_log_probs=true"}));
  for (const char* run : {"parts", "unpacked", "two", "kept"}) {
    expect_equal(run, "loss", 1e-4);
    expect_equal(run, "grad_norm", 1e-3);
    expect_equal(run, "logps/chosen", 1e-4);
  }
}

TEST_F(Ranks, ChordMixesTheSame) {
  std::vector<Json> rows;
  for (Json& row : prompts(10)) {
    row["completion"] = "abc";
    rows.push_back(row);
  }
  place_.write_rows("rows.jsonl", rows);
  place_.write_config(
      "rewards: {graph: {name: letter, type: regex, pattern: '[a-m]'}}\n"
      "stages:\n  - {name: s, type: chord, data: d, sft_data: d, steps: 20, num_generations: 4, "
      "max_completion_length: 6, learning_rate: 1.0e-3, mu_warmup_steps: 5, mu_decay_steps: 10, "
      "logging_steps: 1, save_steps: 0}\n");
  train(1, "one",
        {"stages.s.per_device_train_batch_size=16", "stages.s.sft_per_device_train_batch_size=6"});
  train(2, "two",
        {"stages.s.per_device_train_batch_size=8", "stages.s.sft_per_device_train_batch_size=3"});
  expect_equal("two", "reward", 1e-6);
  expect_equal("two", "loss", 1e-4);
  expect_equal("two", "chord/sft_loss", 1e-4);
}

// A question of who counts what: an odd number of rows, choices and generated answers.
TEST_F(Ranks, EvalCountsEveryRowOnce) {
  place_.write_rows("rows.jsonl", prompts(7));
  place_.write_config(
      "stages:\n  - {name: s, type: eval, data: d, choices: [a, b], metrics: [accuracy, "
      "macro_f1]}\n  - {name: e, type: eval, data: d, max_completion_length: 3}\n");
  train(1, "one", {});
  train(2, "two", {});
  for (const char* stage : {"/s", "/e"}) {
    EXPECT_EQ(place_.read_rows(std::string("two") + stage + "/predictions.jsonl"),
              place_.read_rows(std::string("one") + stage + "/predictions.jsonl"));
    EXPECT_EQ(place_.read_json(std::string("two") + stage + "/table.json"),
              place_.read_json(std::string("one") + stage + "/table.json"));
  }
}

}  // namespace
}  // namespace limbic::test
