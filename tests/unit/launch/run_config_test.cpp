#include "launch/config/run_config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trainer/base/error.h"
#include "trainer/base/yaml_config.h"

namespace limbic::launch {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

RunConfig read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  RunConfig config;
  const YamlDocument document = YamlDocument::parse(text, "f.yaml", overrides);
  document.in_place([&] { document.read(config); });
  return config;
}

std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    read(text, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

constexpr const char* kData = "datasets:\n  easy: {path: a.jsonl}\n  hard: {path: b.jsonl}\n";

std::string stages(const std::string& list) { return std::string(kData) + "stages:\n" + list; }

TEST(RunConfig, DefaultsAreThoseOfThePage) {
  const RunConfig c = read("run: {name: first}\n");
  EXPECT_EQ(c.output(), "runs/first");
  EXPECT_EQ(c.run.seed, 42);
  EXPECT_TRUE(c.run.deterministic);
  EXPECT_EQ(c.run.dtype, Dtype::kAuto);
  EXPECT_EQ(c.model.init, Init::kPretrained);
  EXPECT_FALSE(c.lora);
  EXPECT_EQ(c.parallel.zero_stage, 1);
  EXPECT_EQ(c.parallel.timeout_s, 600.0);
  EXPECT_EQ(c.rewards.on_failure, rewards::OnFailure::kDropGroup);
  EXPECT_EQ(c.rewards.remote.deadline_s, 30.0);
}

TEST(RunConfig, StagesHaveTheirOwnDefaults) {
  const RunConfig c = read(stages("  - {name: a, type: sft, data: easy}\n"
                                  "  - {name: b, type: grpo, data: [easy, hard]}\n"
                                  "  - {name: c, type: eval, data: hard}\n"
                                  "  - {name: d, type: merge}\n") +
                           "rewards: {workers: ['h:1']}\nlora: {r: 4}\n");
  ASSERT_EQ(c.stages.size(), 4U);
  const auto& sft = std::get<sft::SftConfig>(c.stages[0].options);
  EXPECT_EQ(sft.train.max_length, 1024);
  EXPECT_TRUE(sft.assistant_only_loss);
  const auto& grpo = std::get<rl::GrpoConfig>(c.stages[1].options);
  EXPECT_EQ(grpo.num_generations, 8);
  EXPECT_DOUBLE_EQ(grpo.train.schedule.learning_rate, 1e-6);
  EXPECT_EQ(grpo.loss.kl.beta, 0.0);
  EXPECT_THAT(c.stages[1].data(), ElementsAre("easy", "hard"));
  EXPECT_EQ(std::get<eval::EvalConfig>(c.stages[2].options).sampling.temperature, 0.0);
  EXPECT_STREQ(c.stages[3].type(), "merge");
  EXPECT_TRUE(c.stages[1].trains());
  EXPECT_FALSE(c.stages[2].trains());
  EXPECT_EQ(c.stages[2].train(), nullptr);
  EXPECT_EQ(c.stages[0].train()->gradient_accumulation_steps, 1);
}

TEST(RunConfig, OneTurnOrAllTokensAreLearnedNotBoth) {
  const std::string text = stages("  - {name: a, type: sft, data: easy}\n");
  const auto sft = [&](const std::vector<std::string>& overrides) {
    return std::get<sft::SftConfig>(read(text, overrides).stages[0].options);
  };
  EXPECT_EQ(sft({}).train_on_turns, data::Turns::kAll);
  EXPECT_EQ(sft({"stages.a.train_on_turns=last"}).train_on_turns, data::Turns::kLast);
  EXPECT_THAT(refusal(text, {"stages.a.train_on_turns=last", "stages.a.assistant_only_loss=false"}),
              HasSubstr("train_on_turns: got last with assistant_only_loss: false"));
  EXPECT_THAT(refusal(text, {"stages.a.train_on_turns=first"}), HasSubstr("all"));
}

TEST(RunConfig, PairsAndExpertsAreTrainingStages) {
  const std::string chord = "  - {name: b, type: chord, data: easy, sft_data: hard}\n";
  const RunConfig c = read(stages("  - {name: a, type: dpo, data: easy}\n" + chord) +
                           "rewards: {workers: ['h:1']}\n");
  EXPECT_STREQ(c.stages[0].type(), "dpo");
  EXPECT_STREQ(c.stages[1].type(), "chord");
  EXPECT_TRUE(c.stages[0].trains() && c.stages[1].trains());
  EXPECT_DOUBLE_EQ(c.stages[0].train()->schedule.learning_rate, 1e-6);
  EXPECT_EQ(c.stages[0].policy(), nullptr);
  EXPECT_NE(c.stages[1].policy(), nullptr);
  EXPECT_THAT(c.stages[1].data(), ElementsAre("easy"));
  EXPECT_THAT(c.stages[1].datasets(), ElementsAre("easy", "hard"));
  EXPECT_THAT(refusal(stages(chord)), HasSubstr("b: got chord without rewards"));
  EXPECT_THAT(refusal(stages("  - {name: b, type: chord, data: easy, sft_data: soft}\n")),
              HasSubstr("b.data: got 'soft', want one of: easy, hard"));
}

TEST(RunConfig, OverridesNameStagesByNameOrIndex) {
  const std::string text = stages("  - {name: a, type: sft, data: easy, steps: 5}\n");
  const auto steps = [&](const std::string& override_text) {
    return *read(text, {override_text}).stages[0].train()->steps;
  };
  EXPECT_EQ(steps("stages.a.steps=7"), 7);
  EXPECT_EQ(steps("stages.0.steps=8"), 8);
  EXPECT_THAT(refusal(text, {"stages.b.steps=7"}), HasSubstr("b"));
}

TEST(RunConfig, StagesAreNotNamedLikeTheFilesOfARun) {
  for (const char* name :
       {"final", "checkpoints", "summary.json", "metrics.jsonl", "a.unfinished"}) {
    EXPECT_THAT(refusal(stages(fmt::format("  - {{name: {}, type: sft, data: easy}}\n", name))),
                AllOf(HasSubstr("f.yaml:5: stages.0.name"), HasSubstr(name)));
  }
}

TEST(RunConfig, RulesThatSpanSectionsNameTheStage) {
  const std::string trains = "  - {name: a, type: sft, data: easy}\n";
  EXPECT_THAT(refusal(stages(trains + "  - {name: m, type: merge}\n")),
              HasSubstr("f.yaml:6: stages.m: got merge with full fine-tuning"));
  EXPECT_THAT(refusal(stages(trains + "  - {name: b, type: sft, data: soft}\n")),
              HasSubstr("f.yaml:6: stages.b.data: got 'soft'"));
  EXPECT_THAT(refusal(stages("  - {name: b, type: synthesize, data: easy}\n")),
              HasSubstr("f.yaml:5: stages.0.type: got 'synthesize'"));
}

TEST(RunConfig, UnknownNamesBringTheNearestOne) {
  EXPECT_THAT(refusal("rum: {name: a}\n"), AllOf(HasSubstr("f.yaml:1"), HasSubstr("'run'")));
  EXPECT_THAT(refusal(stages("  - {name: a, type: sft, data: easy, step: 5}\n")),
              AllOf(HasSubstr("f.yaml:5"), HasSubstr("stages.0.step"), HasSubstr("'steps'")));
  EXPECT_THAT(refusal(stages("  - {name: a, type: sft, data: eazy}\n")),
              AllOf(HasSubstr("a.data"), HasSubstr("'eazy'"), HasSubstr("did you mean 'easy'")));
  EXPECT_THAT(refusal(stages("  - {name: a, type: sfd, data: easy}\n")),
              AllOf(HasSubstr("type"), HasSubstr("sft")));
}

TEST(RunConfig, NamesArePlain) {
  EXPECT_THAT(refusal("run: {name: a/b}\n"), HasSubstr("run.name: got 'a/b'"));
  EXPECT_THAT(refusal("run: {name: ..}\n"), HasSubstr("run.name"));
  EXPECT_EQ(refusal("run: {name: a.B_2-c}\n"), "accepted");
  for (const char* name : {"checkpoints", "final", "'a b'", "../x"}) {
    EXPECT_THAT(refusal(stages(std::string("  - {name: ") + name + ", type: sft, data: easy}\n")),
                HasSubstr("stages.0.name"));
  }
}

TEST(RunConfig, StagesThatContradictEachOther) {
  const std::string sft = "  - {name: a, type: sft, data: easy}\n";
  EXPECT_THAT(refusal(stages(sft + sft)), HasSubstr("a: got two stages of this name"));
  EXPECT_THAT(refusal(stages(sft + "  - {name: b, type: sft, data: easy, init_from: c}\n")),
              HasSubstr("b.init_from: got 'c', want a training stage before it: a"));
  // A stage cannot start from itself, from a later one, or from one that trains nothing.
  EXPECT_THAT(refusal(stages("  - {name: a, type: sft, data: easy, init_from: a}\n")),
              HasSubstr("a.init_from"));
  EXPECT_THAT(refusal(stages("  - {name: e, type: eval, data: easy}\n"
                             "  - {name: a, type: sft, data: easy, init_from: e}\n")),
              HasSubstr("a.init_from: got 'e'"));
  EXPECT_EQ(refusal(stages(sft + "  - {name: b, type: sft, data: easy, init_from: a}\n")),
            "accepted");
  EXPECT_THAT(refusal(stages("  - {name: m, type: merge}\n")),
              HasSubstr("m: got merge without a training stage"));
  EXPECT_THAT(refusal(stages("  - {name: g, type: grpo, data: easy}\n")),
              HasSubstr("g: got grpo without rewards"));
  EXPECT_THAT(refusal(stages("  - {name: a, type: sft, data: []}\n")), HasSubstr("a.data"));
}

TEST(RunConfig, SettingsThatExcludeEachOther) {
  EXPECT_THAT(
      refusal(stages("  - {name: a, type: sft, data: easy, steps: 2, num_train_epochs: 1}\n")),
      HasSubstr("num_train_epochs"));
  EXPECT_THAT(refusal(stages("  - {name: a, type: sft, data: easy, num_train_epochs: 1, "
                             "curriculum: {difficulty: length}}\n")),
              HasSubstr("curriculum"));
}

TEST(RunConfig, ValuesOutOfBounds) {
  for (const char* setting : {"run.seed=-1", "run.threads=-2", "parallel.zero_stage=4",
                              "parallel.shard_ranks=-1", "parallel.timeout_s=0", "stages.a.steps=0",
                              "stages.a.learning_rate=-1", "stages.a.per_device_train_batch_size=0",
                              "stages.a.max_length=x", "stages.a.packing=perhaps"}) {
    const std::string text = setting;
    const std::string key = text.substr(text.rfind('.') + 1, text.find('=') - text.rfind('.') - 1);
    EXPECT_THAT(refusal(stages("  - {name: a, type: sft, data: easy}\n"), {text}), HasSubstr(key));
  }
}

}  // namespace
}  // namespace limbic::launch
