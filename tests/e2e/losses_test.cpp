// Every loss trains from a YAML file, and the preference loss follows TRL's curve.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <numeric>

#include "tests/support/workplace.h"
#include "trainer/base/file.h"

namespace limbic::test {
namespace {

using testing::Each;
using testing::Gt;
using testing::SizeIs;

double mean_of(const std::vector<double>& values, std::size_t begin, std::size_t count) {
  const auto first = values.begin() + static_cast<std::ptrdiff_t>(begin);
  return std::accumulate(first, first + static_cast<std::ptrdiff_t>(count), 0.0) /
         static_cast<double>(count);
}

class Losses : public testing::Test {
 protected:
  void train(const std::string& text, const std::string& run = "out",
             const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"train", place_.write_config(text), "--quiet",
                                          "run.output=" + place_.file(run)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_ok(run_limbic(arguments));
  }

  Workplace place_;
};

constexpr const char* kLetters =
    "rewards: {graph: {combine: sum, terms: [{name: letter, type: regex, pattern: '[a-f]'}, "
    "{name: brief, type: overlong, max_length: 6, buffer: 4, weight: 0.2}]}}\n";

std::string grpo(const std::string& more) {
  return std::string(kLetters) +
         "stages:\n  - {name: g, type: grpo, data: d, steps: 24, num_generations: 8, "
         "per_device_train_batch_size: 32, max_completion_length: 6, learning_rate: 1.0e-2, "
         "logging_steps: 1, save_steps: 0, " +
         more + "}\n";
}

// Two optimizer steps per rollout, so that ratios, clips and gates act.
TEST_F(Losses, EveryPolicyLossRaisesTheReward) {
  place_.write_rows("rows.jsonl", prompts(4));
  const std::pair<const char*, const char*> runs[] = {
      {"gspo", "loss_type: grpo, importance_sampling_level: sequence, num_iterations: 2"},
      {"cispo", "loss_type: cispo, epsilon_high: 5.0, num_iterations: 2"},
      {"sapo", "loss_type: sapo, num_iterations: 2"},
      {"luspo",
       "loss_type: luspo, importance_sampling_level: sequence, num_iterations: 2, learning_rate: "
       "5.0e-3"},
      {"dual", "delta: 2.0, num_iterations: 2, beta: 0.02"},
      {"rloo",
       "advantage_estimator: rloo, loss_type: rloo, importance_sampling_level: sequence, beta: "
       "0.01, kl_in_reward: true, kl_estimator: k1, "
       "normalize_advantages: true"},
      {"rpp", "advantage_estimator: reinforce_plus_plus"},
      {"gdpo", "multi_objective_aggregation: normalize_then_sum"},
      {"tokens", "top_entropy_quantile: 0.5, entropy_coef: 0.001"},
      {"drawn",
       "temperature: 0.8, vllm_importance_sampling_correction: true, "
       "vllm_importance_sampling_mode: token_truncate"},
  };
  for (const auto& [name, keys] : runs) {
    std::string text = grpo(keys);
    if (text.find("learning_rate", text.find(keys)) != std::string::npos) {
      text.erase(text.find("learning_rate: 1.0e-2, "), 23);
    }
    train(text, name);
    const auto rewards = place_.metric("reward", "g", name);
    ASSERT_THAT(rewards, SizeIs(24)) << name;
    EXPECT_GT(mean_of(rewards, 18, 6), mean_of(rewards, 0, 4) + 0.1) << name;
  }
  EXPECT_THAT(place_.metric("cispo_clip_ratio", "g", "cispo"), SizeIs(24));
  EXPECT_THAT(place_.metric("clip_ratio/low_mean", "g", "sapo"), SizeIs(0));
  EXPECT_THAT(place_.metric("policy_loss", "g", "tokens"), SizeIs(24));
  EXPECT_THAT(place_.metric("sampling/importance_sampling_ratio/mean", "g", "drawn"),
              Each(Gt(0.0)));
}

TEST_F(Losses, TokenRegionsAndSampleWeights) {
  std::vector<Json> rows = prompts(4);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i]["importance"] = i == 0 ? 0.0 : 1.5;
  place_.write_rows("rows.jsonl", rows);
  train(grpo("token_regions: {letter: answer}, sample_weight: importance, num_iterations: 2"));
  EXPECT_THAT(place_.metric("loss", "g"), SizeIs(24));
  rows[2]["importance"] = -1;
  place_.write_rows("rows.jsonl", rows);
  expect_refused(run_limbic({"train", place_.file("config.yaml"), "--quiet",
                             "run.output=" + place_.file("b")}),
                 {"rows.jsonl:3: got the number -1 in column 'importance'"});
}

TEST_F(Losses, TermsThatAreNotThereAreRefusedWithTheirPlace) {
  place_.write_rows("rows.jsonl", prompts(4));
  expect_refused(
      run_limbic({"train", place_.write_config(grpo("token_regions: {letters: answer}"))}),
      {"config.yaml:", "g.token_regions: got 'letters', want one of the terms"});
  expect_refused(run_limbic({"train", place_.write_config(grpo("loss_type: luspo"))}),
                 {"config.yaml:", "importance_sampling_level: got token with luspo"});
}

TEST_F(Losses, LabelSmoothingKeepsTheModelUnsure) {
  place_.write_rows("rows.jsonl", chats(8));
  const std::string text =
      "stages:\n  - {name: s, type: sft, data: d, steps: 60, learning_rate: 1.0e-2, "
      "logging_steps: 1, save_steps: 0, per_device_train_batch_size: 8}\n";
  train(text);
  train(text, "smooth", {"stages.s.label_smoothing_factor=0.2"});
  EXPECT_GT(place_.metric("entropy", "s", "smooth").back(),
            2 * place_.metric("entropy", "s").back());
  EXPECT_GT(place_.metric("mean_token_accuracy", "s", "smooth").back(), 0.8);
}

TEST_F(Losses, DpoFollowsTheCurveOfTrl) {
  const Json golden = Json::parse(read_file(LIMBIC_SOURCE_DIR "/tests/e2e/dpo_curve.json"));
  place_.write_rows("rows.jsonl", golden.at("rows").get<std::vector<Json>>());
  const std::string chat = place_.write("chat.jinja", golden.at("template"));
  const std::string text =
      "stages:\n  - {name: p, type: dpo, data: d, steps: 20, per_device_train_batch_size: 4, "
      "learning_rate: " +
      golden.at("rate").dump() + ", beta: " + golden.at("beta").dump() +
      ", shuffle: false, lr_scheduler_type: constant, weight_decay: 0.0, logging_steps: 1, "
      "save_steps: 0}\n";
  for (const auto& [kind, curves] : golden.at("curves").items()) {
    train(text, kind, {"model.chat_template=" + chat, "stages.p.loss_type=" + kind});
    for (const auto& [name, values] : curves.items()) {
      const auto want = values.get<std::vector<double>>();
      const auto got = place_.metric(name, "p", kind);
      ASSERT_EQ(got.size(), want.size()) << name;
      double largest = 0.0;
      for (const double value : want) largest = std::max(largest, std::abs(value));
      for (std::size_t i = 0; i < want.size(); ++i) {
        EXPECT_NEAR(got[i], want[i], 1e-3 * std::max(largest, 1e-2))
            << kind << " " << name << " at " << i;
      }
    }
  }
  // The same from figures of the start model, kept before the first step.
  train(text, "kept", {"model.chat_template=" + chat, "stages.p.precompute_ref_log_probs=true"});
  const auto kept = place_.metric("loss", "p", "kept");
  const auto plain = place_.metric("loss", "p", "sigmoid");
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_NEAR(kept[i], plain[i], 1e-4) << i;
}

std::string dpo(const std::string& more) {
  return "stages:\n  - {name: s, type: sft, data: d, steps: 3, learning_rate: 1.0e-2, "
         "per_device_train_batch_size: 4}\n"
         "  - {name: p, type: dpo, data: d, steps: 40, per_device_train_batch_size: 4, "
         "learning_rate: 5.0e-3, logging_steps: 1, save_steps: 7" +
         more + "}\n";
}

// Rows without a prompt of their own: two whole conversations.
std::vector<Json> whole_pairs(int count) {
  std::vector<Json> rows;
  for (int i = 0; i < count; ++i) {
    const Json question = {{"role", "user"}, {"content", "say " + std::to_string(i)}};
    const auto answer = [&](const char* text) {
      return Json::array({question, {{"role", "assistant"}, {"content", text}}});
    };
    rows.push_back({{"chosen", answer("yes please")}, {"rejected", answer("no")}});
  }
  return rows;
}

// The reference of a stage that starts from an adapter is that adapter, not the bare base.
TEST_F(Losses, DpoWithLoraStartsFromItsParent) {
  place_.write_rows("rows.jsonl", whole_pairs(8));
  const std::string lora = "lora: {r: 4, alpha: 8}\n";
  train(lora + dpo(""));
  train(lora + dpo(", precompute_ref_log_probs: true"), "kept");
  for (const char* run : {"out", "kept"}) {
    const auto losses = place_.metric("loss", "p", run);
    EXPECT_NEAR(losses.front(), std::log(2.0), 1e-5) << run;
    EXPECT_LT(losses.back(), 0.5 * losses.front()) << run;
    EXPECT_EQ(place_.metric("rewards/accuracies", "p", run).back(), 1.0) << run;
  }
}

TEST_F(Losses, DpoGoesOnExactly) {
  place_.write_rows("rows.jsonl", whole_pairs(12));
  const std::string text = "lora: {r: 4, alpha: 8, dropout: 0.1}\n" +
                           dpo(", precompute_ref_log_probs: true, steps: 200");
  const std::string once =
      text.substr(0, text.find("steps: 40, ")) + text.substr(text.find("steps: 40, ") + 11);
  train(once);
  Process process({limbic_binary(), "train", place_.file("config.yaml"),
                   "run.output=" + place_.file("stopped")});
  ASSERT_TRUE(process.wait_for("p 1")) << process.err();
  process.signal(SIGTERM);
  ASSERT_EQ(process.finish().code, 75) << process.err();
  train(once, "stopped");
  EXPECT_EQ(place_.metrics("stopped"), place_.metrics());
}

TEST_F(Losses, PairsThatCannotBeUsedAreNamed) {
  std::vector<Json> rows = whole_pairs(3);
  const std::string text = dpo("");
  const auto refuse = [&](const Json& row, const std::string& message) {
    rows[1] = row;
    place_.write_rows("rows.jsonl", rows);
    expect_refused(
        run_limbic({"train", place_.write_config(text.substr(0, 8) +
                                                 text.substr(text.find("  - {name: p")))}),
        {"rows.jsonl:2: ", message});
  };
  refuse({{"prompt", "a"}, {"chosen", "b"}}, "got no column 'rejected'");
  refuse({{"prompt", "a"}, {"chosen", 1}, {"rejected", "b"}}, "in column 'chosen', want a string");
  refuse({{"text", "a"}, {"chosen", "b"}, {"rejected", "c"}}, "got plain text");
}

TEST_F(Losses, ChordLearnsFromExpertsAndFromItself) {
  std::vector<Json> rows;
  for (Json& row : prompts(4)) {
    row["completion"] = "abc";
    rows.push_back(row);
  }
  place_.write_rows("rows.jsonl", rows);
  train(std::string(kLetters) +
        "stages:\n  - {name: c, type: chord, data: d, sft_data: d, steps: 30, num_generations: 4, "
        "per_device_train_batch_size: 16, sft_per_device_train_batch_size: 2, "
        "max_completion_length: 6, learning_rate: 5.0e-3, mu_warmup_steps: 10, mu_decay_steps: 10, "
        "mu_schedule: cosine, mu_start: 0, phi: false, logging_steps: 1, save_steps: 0}\n");
  const auto mu = place_.metric("chord/mu", "c");
  ASSERT_THAT(mu, SizeIs(30));
  EXPECT_DOUBLE_EQ(mu[0], 0.0);
  EXPECT_DOUBLE_EQ(mu[10], 0.5);
  EXPECT_DOUBLE_EQ(mu[15], 0.26);
  EXPECT_DOUBLE_EQ(mu[29], 0.02);
  const auto experts = place_.metric("chord/sft_loss", "c");
  EXPECT_LT(experts.back(), 0.5 * experts.front());
  const auto losses = place_.metric("loss", "c");
  const auto policy = place_.metric("chord/grpo_loss", "c");
  for (std::size_t i = 0; i < losses.size(); ++i) {
    EXPECT_NEAR(losses[i], (1 - mu[i]) * policy[i] + mu[i] * experts[i], 1e-5) << i;
  }
  EXPECT_GT(mean_of(place_.metric("reward", "c"), 24, 6), 0.5);
}

TEST_F(Losses, DpoInspectAndCheckKnowTheStage) {
  place_.write_rows("rows.jsonl", whole_pairs(4));
  place_.write_config(dpo(""));
  const Ended shown = run_limbic({"inspect", place_.file("config.yaml")});
  expect_ok(shown);
  EXPECT_NE(shown.out.find("[[yes please<|im_end|>]]"), std::string::npos) << shown.out;
  expect_ok(run_limbic({"data", "check", place_.file("config.yaml")}));
}

}  // namespace
}  // namespace limbic::test
