#include "launch/run/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "tests/support/workplace.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/yaml_config.h"

namespace limbic::launch {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class RunFolderTest : public testing::Test {
 protected:
  RunConfig config(const std::vector<std::string>& overrides = {}) const {
    RunConfig out;
    YamlDocument::parse("run: {output: '" + folder_ +
                            "'}\ndatasets: {d: {path: a.jsonl}}\nstages:\n"
                            "  - {name: s, type: sft, data: d, steps: 3}\n",
                        "f.yaml", overrides)
        .read(out);
    return out;
  }
  RunFolder open(const std::vector<std::string>& overrides = {}, RunFolder::Options options = {}) {
    return RunFolder(*local_, config(overrides), options);
  }
  std::string refusal(const std::vector<std::string>& overrides = {},
                      RunFolder::Options options = {}) {
    try {
      open(overrides, options);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "taken";
  }
  void finish_stage(RunFolder& folder, const std::string& name, std::int64_t steps) {
    folder.begin(name);
    write_file_atomically(folder.unfinished_folder(name) + "/result", "r");
    StageRecord record{.name = name, .type = "sft", .steps = steps, .wall_seconds = 1.5};
    record.metrics = {{"loss", 0.5}};
    folder.finish(record);
  }

  test::Workplace place_;
  std::string folder_ = place_.file("out/run");
  std::unique_ptr<parallel::Communicator> local_ = parallel::make_local();
};

TEST_F(RunFolderTest, ANewFolderHoldsTheResolvedConfig) {
  const RunFolder folder = open();
  EXPECT_TRUE(folder.finished().empty());
  const std::string resolved = read_file(folder_ + "/config.resolved.yaml");
  RunConfig again;
  YamlDocument::parse(resolved, "resolved").read(again);
  EXPECT_EQ(numeric_settings(again, 1), numeric_settings(config(), 1));
}

TEST_F(RunFolderTest, FinishedStagesAreFoundAgain) {
  {
    RunFolder folder = open();
    finish_stage(folder, "s", 3);
    folder.begin("t");
    write_file_atomically(folder.unfinished_folder("t") + "/part", "p");
  }
  RunFolder folder = open();
  ASSERT_EQ(folder.finished().size(), 1U);
  ASSERT_NE(folder.find("s"), nullptr);
  EXPECT_EQ(folder.find("s")->steps, 3);
  EXPECT_EQ(folder.find("s")->metrics.at("loss"), 0.5);
  EXPECT_EQ(folder.find("t"), nullptr);
  EXPECT_EQ(read_file(folder.stage_folder("s") + "/result"), "r");
  folder.begin("t");
  EXPECT_TRUE(fs::is_empty(folder.unfinished_folder("t")));
  const Json summary = Json::parse(read_file(folder_ + "/summary.json"));
  EXPECT_EQ(summary.at("stages")[0].at("name"), "s");
  EXPECT_EQ(summary.at("wall_seconds"), 1.5);
}

TEST_F(RunFolderTest, AnotherRunIsRefusedWithItsDifferences) {
  open();
  const std::string message = refusal({"stages.s.steps=4", "run.seed=3"});
  EXPECT_THAT(message, AllOf(HasSubstr(folder_), HasSubstr("stages.s.steps: was 3, is 4"),
                             HasSubstr("run.seed: was 42, is 3"), HasSubstr("--allow-change")));
  // Nothing was taken over.
  EXPECT_EQ(refusal(), "taken");
}

TEST_F(RunFolderTest, ManyDifferencesAreCounted) {
  open();
  EXPECT_THAT(
      refusal({"stages.s.steps=4", "run.seed=3", "run.name=x", "model.path=m",
               "stages.s.max_length=9", "stages.s.shuffle=false", "stages.s.packing=false"}),
      HasSubstr("and 2 more"));
}

TEST_F(RunFolderTest, HarmlessChangesAreTaken) {
  open();
  EXPECT_EQ(refusal({"stages.s.save_steps=1", "run.threads=2"}), "taken");
}

TEST_F(RunFolderTest, AllowChangeGoesOnWithTheNewSettings) {
  {
    RunFolder folder = open();
    finish_stage(folder, "s", 3);
  }
  const RunFolder folder = open({"run.seed=3"}, {.allow_change = true});
  EXPECT_NE(folder.find("s"), nullptr);
  EXPECT_EQ(refusal({"run.seed=3"}), "taken");
  EXPECT_THAT(refusal(), HasSubstr("run.seed: was 3, is 42"));
}

TEST_F(RunFolderTest, OverwriteStartsAnewButSparesForeignFiles) {
  {
    RunFolder folder = open();
    finish_stage(folder, "s", 3);
  }
  const RunFolder folder = open({"run.seed=3"}, {.overwrite = true});
  EXPECT_TRUE(folder.finished().empty());
  EXPECT_FALSE(fs::exists(folder.stage_folder("s")));

  folder_ = place_.file("papers");
  write_file_atomically(folder_ + "/thesis.txt", "years");
  EXPECT_THAT(refusal({}, {.overwrite = true}), HasSubstr("other files"));
  EXPECT_EQ(read_file(folder_ + "/thesis.txt"), "years");
}

TEST_F(RunFolderTest, UndoTakesBackAFolderInWhichNothingWasTrained) {
  {
    RunFolder folder = open();
    folder.begin("s");
    folder.undo();
    EXPECT_FALSE(fs::exists(folder_));
  }
  {
    RunFolder folder = open();
    finish_stage(folder, "s", 3);
    folder.begin("t");
    folder.undo();
    EXPECT_EQ(read_file(folder.stage_folder("s") + "/result"), "r");
  }
  open().undo();  // a run that was there before
  EXPECT_TRUE(fs::exists(folder_ + "/run.json"));
}

TEST_F(RunFolderTest, UndoBringsBackTheRunThatWasToBeOverwritten) {
  {
    RunFolder folder = open();
    finish_stage(folder, "s", 3);
  }
  {
    RunFolder folder = open({"run.seed=3"}, {.overwrite = true});
    folder.begin("s");
    folder.undo();
  }
  EXPECT_NE(open().find("s"), nullptr);
  // Killed instead, and begun once more: the old run is still the one that comes back.
  open({"run.seed=3"}, {.overwrite = true});
  open({"run.seed=4"}, {.overwrite = true}).undo();
  EXPECT_NE(open().find("s"), nullptr);
  EXPECT_FALSE(fs::exists(folder_ + ".replaced"));
}

TEST_F(RunFolderTest, AFinishedStageEndsTheRunThatWasOverwritten) {
  {
    RunFolder folder = open();
    finish_stage(folder, "s", 3);
  }
  RunFolder folder = open({"run.seed=3"}, {.overwrite = true});
  EXPECT_TRUE(fs::exists(folder_ + ".replaced/summary.json"));
  finish_stage(folder, "s", 5);
  EXPECT_FALSE(fs::exists(folder_ + ".replaced"));
}

TEST_F(RunFolderTest, UndoSparesTheFilesOfOthers) {
  RunFolder folder = open();
  write_file_atomically(folder_ + "/notes.txt", "n");
  folder.undo();
  EXPECT_EQ(read_file(folder_ + "/notes.txt"), "n");
  EXPECT_FALSE(fs::exists(folder_ + "/run.json"));
}

TEST_F(RunFolderTest, DamagedMemoryIsAnErrorOfTheData) {
  open();
  write_file_atomically(folder_ + "/run.json", "{\"settings\": ");
  EXPECT_THROW(open(), DataError);
  write_file_atomically(folder_ + "/run.json", "{}");
  EXPECT_THROW(open(), DataError);
  fs::remove_all(folder_);
  open();
  for (const char* summary : {"[", "{}", R"({"stages": [{"name": "s"}]})"}) {
    write_file_atomically(folder_ + "/summary.json", summary);
    EXPECT_THROW(open(), DataError) << summary;
  }
}

TEST_F(RunFolderTest, FinalPointsToTheLastStage) {
  RunFolder folder = open();
  finish_stage(folder, "s", 3);
  folder.link_final("s");
  folder.link_final("s");
  EXPECT_EQ(fs::read_symlink(folder_ + "/final"), "s");
  EXPECT_EQ(read_file(folder_ + "/final/result"), "r");
}

// Rank 0 writes and decides; all ranks know what is finished and all are refused.
TEST_F(RunFolderTest, RanksAgree) {
  {
    RunFolder folder(*local_, config(), {});
    finish_stage(folder, "s", 3);
  }
  auto ranks = parallel::make_threads(2, 10.0);
  std::vector<int> found(2), refused(2);
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        RunFolder folder(*ranks[rank], config(), {});
      } catch (const ConfigError&) {
        refused[rank] = 1;  // the world is another one
      }
      const RunFolder folder(*ranks[rank], config(), {.allow_change = true});
      found[rank] = folder.find("s") != nullptr ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(refused, testing::Each(1));
  EXPECT_THAT(found, testing::Each(1));
}

}  // namespace
}  // namespace limbic::launch
