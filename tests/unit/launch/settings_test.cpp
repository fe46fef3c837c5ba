#include "launch/config/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trainer/base/yaml_config.h"

namespace limbic::launch {
namespace {

using testing::HasSubstr;

constexpr const char* kText = R"(run: {name: a, output: out}
model: {path: m, template_variables: {enable_thinking: false}}
lora: {r: 4, target_modules: [q_proj, v_proj]}
datasets:
  d: {path: [a.jsonl, b.jsonl], columns: {label: emotion},
      prompt: "say: {text} # \"now\"\n",
      filter: {column: label, in: [joy, "1"]}}
rewards:
  on_failure: drop_sample
  graph:
    combine: product
    terms:
      - {name: format, type: tags, tags: [think, answer], gate: true}
      - combine: sum
        name: inner
        terms:
          - {name: emotion, type: label, weight: 0.5, column: label, aliases: {joy: [happy]}}
          - {name: short, type: length, max: 3, unit: words, weights_over_steps: {0: 1.0, 9: 0.5}}
serve: {address: "127.0.0.1:1"}
stages:
  - {name: warm, type: sft, data: d, steps: 3, curriculum: {difficulty: length, buckets: 2}}
  - {name: rl, type: grpo, data: [d], init_from: warm, temperature: 0.7}
  - {name: test, type: eval, data: d, metrics: [accuracy], choices: [joy, fear]}
  - {name: m, type: merge}
)";

RunConfig read(const std::string& text, const std::vector<std::string>& overrides = {}) {
  RunConfig config;
  YamlDocument::parse(text, "f.yaml", overrides).read(config);
  return config;
}
Settings settings(const std::vector<std::string>& overrides = {}, int world = 1) {
  return numeric_settings(read(kText, overrides), world);
}

TEST(Settings, WhatChangesNoNumberIsNotAmongThem) {
  const Settings before = settings();
  for (const char* change :
       {"run.output=elsewhere", "run.threads=3", "rewards.workers=['h:1', 'h:2']",
        "rewards.deadline_s=9", "serve.address=0.0.0.0:2", "parallel.timeout_s=5",
        "parallel.overlap=false", "stages.warm.save_steps=1", "stages.warm.logging_steps=2",
        "stages.rl.save_total_limit=9", "stages.rl.num_completions_to_log=1"}) {
    EXPECT_EQ(settings({change}), before) << change;
  }
}

TEST(Settings, WhatChangesANumberIs) {
  const Settings before = settings();
  for (const char* change :
       {"run.seed=8", "run.name=b", "run.dtype=float32", "model.path=n", "lora.r=8",
        "parallel.zero_stage=0", "parallel.shard_ranks=1", "parallel.bucket_mb=3",
        "parallel.communication_data_type=bfloat16", "datasets.d.sample=first:3",
        "rewards.on_failure=wait", "stages.warm.steps=4", "stages.warm.packing=false",
        "stages.rl.temperature=0.8", "stages.rl.num_iterations=2", "stages.test.choices=[joy]",
        "stages.rl.beta=0.1"}) {
    EXPECT_NE(settings({change}), before) << change;
    EXPECT_NE(settings_hash(settings({change})), settings_hash(before)) << change;
  }
  EXPECT_NE(settings({}, 2), before);
}

TEST(Settings, PathsNameStagesAndTermsByTheirNames) {
  const Settings all = settings();
  EXPECT_EQ(all.at("stages.warm.steps"), "3");
  EXPECT_EQ(all.at("stages.rl.temperature"), "0.7");
  EXPECT_EQ(all.at("rewards.graph.terms.inner.terms.emotion.weight"), "0.5");
  EXPECT_EQ(all.at("world"), "1");
}

TEST(Settings, TheResolvedFileReadsBackToTheSameRun) {
  const RunConfig config = read(kText);
  const std::string resolved = resolved_config(config, 2);
  const RunConfig again = read(resolved);
  EXPECT_EQ(numeric_settings(again, 2), numeric_settings(config, 2));
  EXPECT_EQ(resolved_config(again, 2), resolved);
  EXPECT_EQ(again.run.output, "out");
  EXPECT_EQ(again.datasets[0].second.prompt, config.datasets[0].second.prompt);
  EXPECT_EQ(again.stages[1].init_from, "warm");
  EXPECT_THAT(resolved, HasSubstr("# world: 2 ranks"));
  EXPECT_THAT(resolved, HasSubstr(settings_hash(numeric_settings(config, 2))));
}

}  // namespace
}  // namespace limbic::launch
