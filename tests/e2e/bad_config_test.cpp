// What is wrong in an experiment file: exit code 2, one line that says what, and nothing written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/support/workplace.h"

namespace limbic::test {
namespace {

constexpr const char* kSft =
    "stages:\n  - {name: s, type: sft, data: d, steps: 2, per_device_train_batch_size: 4}\n";
constexpr const char* kGrpo =
    "rewards: {graph: {name: r, type: length, max: 2, unit: words}}\n"
    "stages:\n  - {name: g, type: grpo, data: d, steps: 2, per_device_train_batch_size: 8, "
    "num_generations: 4, max_completion_length: 4}\n";

class BadConfig : public testing::Test {
 protected:
  BadConfig() { place_.write_rows("rows.jsonl", chats(8)); }

  // `limbic train` on the file is refused and leaves everything as it was.
  void refused(const std::string& text, const std::vector<std::string>& parts,
               const std::vector<std::string>& overrides = {}) {
    std::vector<std::string> arguments = {"train", place_.write_config(text)};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    const auto before = place_.snapshot();
    expect_refused(run_limbic(arguments), parts);
    EXPECT_THAT(changes(before, place_.snapshot()), testing::IsEmpty());
  }

  Workplace place_;
};

TEST_F(BadConfig, MisspeltKeyNamesTheNearest) {
  refused("stages:\n  - {name: s, type: sft, data: d, steps: 2, learning_rat: 0.1}\n",
          {"config.yaml:6", "stages.0", "learning_rat", "learning_rate"});
  refused("lroa: {r: 4}\n", {"config.yaml:5", "lroa", "lora"});
}

TEST_F(BadConfig, ValueOfTheWrongKind) {
  refused("stages:\n  - {name: s, type: sft, data: d, steps: many}\n",
          {"config.yaml:6", "steps", "many"});
  refused(kSft, {"steps", "-3"}, {"stages.s.steps=-3"});
  refused(kSft, {"learning_rate"}, {"stages.s.learning_rate=0"});
  refused(kSft, {"lr_scheduler_type", "cosine", "cosin"}, {"stages.s.lr_scheduler_type=cosin"});
}

TEST_F(BadConfig, OverrideOfAnUnknownStage) {
  refused(kSft, {"stages", "x"}, {"stages.x.steps=3"});
}

TEST_F(BadConfig, UnknownDatasetNamesTheNearest) {
  place_.write("config.yaml", "");
  refused("stages:\n  - {name: s, type: sft, data: dd, steps: 1}\n",
          {"s.data", "'dd'", "did you mean 'd'"});
}

TEST_F(BadConfig, MissingFiles) {
  refused(kSft, {"nowhere"}, {"model.path=nowhere"});
  refused(kSft, {"nothing.jsonl"}, {"datasets.d.path=nothing.jsonl"});
  expect_refused(run_limbic({"train", place_.file("no.yaml")}), {"no.yaml"});
}

TEST_F(BadConfig, GroupsThatDoNotDivideTheStep) {
  place_.write_rows("rows.jsonl", prompts(8));
  refused(kGrpo, {"num_generations: got 3", "8 completions"}, {"stages.g.num_generations=3"});
}

TEST_F(BadConfig, PromptsThatLeaveNoRoomForCompletions) {
  place_.write_rows("rows.jsonl", prompts(8));
  refused(kGrpo, {"rows.jsonl:1", "prompt of 13 tokens", "at most 12"}, {"stages.g.max_length=16"});
}

TEST_F(BadConfig, RewardsWhoseLabelNoRowHas) {
  place_.write_rows("rows.jsonl", prompts(8));
  refused(kGrpo, {"rows.jsonl:1", "'mood'"},
          {"rewards.graph={name: r, type: label, column: mood}"});
}

// What only shows with the model or the rows at hand has file and line like the rest, and shows
// before the first stage trains.
TEST_F(BadConfig, LateFindingsHaveTheirPlace) {
  refused(std::string("lora: {r: 4, target_modules: q_prj}\n") + kSft,
          {"config.yaml:5: lora.target_modules: got 'q_prj'"});
  const std::string both =
      std::string("rewards:\n  graph: {type: label, column: label, aliases: no.yaml}\n") + kSft +
      "  - {name: g, type: grpo, data: d, steps: 2, num_generations: 3}\n";
  refused(both, {"config.yaml:9: stages.g.num_generations: got 3, want a divisor of the 8"});
  refused(both, {"config.yaml:6: rewards.graph.aliases: got 'no.yaml'"},
          {"stages.g.num_generations=4"});
  refused(std::string(kSft) + "  - {name: e, type: eval, data: d, label: mood}\n",
          {"rows.jsonl:1", "'mood'"});
  refused(kSft, {"command line: stages.s.curriculum.buckets: got 99 for 8 rows"},
          {"stages.s.curriculum={difficulty: length, buckets: 99}"});
}

TEST_F(BadConfig, WorkerThatCannotListenSaysSoInOneLine) {
  const Ended ended = run_limbic({"serve", place_.write_config(kGrpo), "serve.address=1.2.3.4:5"});
  expect_refused(ended, {"command line: serve.address: got '1.2.3.4:5'"});
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
}

TEST_F(BadConfig, CheckpointThatIsNotThere) {
  expect_refused(run_limbic({"train", place_.write_config(kSft), "--resume", "step-9"}),
                 {"--resume", "'step-9'", "step folder"});
  EXPECT_FALSE(std::filesystem::exists(place_.file("out")));
}

TEST_F(BadConfig, GrpoWithoutRewards) {
  refused("stages:\n  - {name: g, type: grpo, data: d, steps: 2}\n", {"g", "rewards"});
}

TEST_F(BadConfig, NoStages) { refused("", {"stages"}); }

TEST_F(BadConfig, FolderThatHoldsAnotherRunIsLeftAlone) {
  expect_ok(run_limbic({"train", place_.write_config(kSft), "--quiet"}));
  refused(kSft, {place_.file("out"), "another run", "learning_rate", "--overwrite"},
          {"stages.s.learning_rate=0.5"});
}

TEST_F(BadConfig, FolderThatHoldsOtherFilesIsLeftAlone) {
  place_.write("out/thesis.txt", "years of work");
  refused(kSft, {place_.file("out"), "other files"});
  refused(kSft, {place_.file("out"), "other files"}, {"--overwrite"});
}

// No worker answers on a port that nobody listens on.
TEST_F(BadConfig, UnreachableWorkerIsLostContact) {
  place_.write_rows("rows.jsonl", prompts(8));
  const std::string config = place_.write_config(kGrpo);
  const Ended ended = run_limbic({"train", config, "rewards.workers=['127.0.0.1:9']",
                                  "rewards.deadline_s=1", "rewards.unreachable_after_s=1"});
  EXPECT_EQ(ended.code, 76) << ended.err;
  const auto errors = error_lines(ended);
  ASSERT_EQ(errors.size(), 1U) << ended.err;
  EXPECT_NE(errors[0].find("127.0.0.1:9"), std::string::npos) << errors[0];
}

}  // namespace
}  // namespace limbic::test
