#include "trainer/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "tests/support/temp_folder.h"
#include "tests/unit/checkpoint/contents.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"
#include "trainer/checkpoint/step_folder.h"

namespace limbic::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using test::TempFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckpointTest : public testing::Test {
 protected:
  std::string stage() const { return folder_.file("run/checkpoints/sft"); }
  std::string step_folder(std::int64_t step) const { return stage() + "/" + step_name(step); }
  void save_steps(std::initializer_list<std::int64_t> steps, std::int64_t keep = 100) {
    for (const std::int64_t step : steps) save(*local_, stage(), step, keep);
  }
  // Oldest first.
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> found;
    for (const auto& [step, path] : steps_below(stage())) found.insert(found.begin(), step);
    return found;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(stage())) {
      found.push_back(entry.path().filename().string());
    }
    return found;
  }

  TempFolder folder_;
  std::unique_ptr<parallel::Communicator> local_ = parallel::make_local();
};

TEST_F(CheckpointTest, ComesBackBitForBit) {
  save_steps({100});
  EXPECT_THAT(names(), ElementsAre("step-00000100"));
  EXPECT_EQ(difference_of(load(step_folder(100)), 100), "");
  const auto latest = load_latest(*local_, stage());
  ASSERT_TRUE(latest);
  EXPECT_EQ(difference_of(*latest, 100), "");
  EXPECT_EQ(latest->folder, step_folder(100));
}

TEST_F(CheckpointTest, AllRanksSaveOnceAndLoadTheSame) {
  parallel::run_ranks(3, [&](parallel::Communicator& c) {
    save(c, stage(), 7, 2);
    save(c, stage(), 9, 2);
    const auto latest = load_latest(c, stage());
    ASSERT_TRUE(latest);
    EXPECT_EQ(difference_of(*latest, 9), "");
  });
  EXPECT_THAT(steps(), ElementsAre(7, 9));
}

TEST_F(CheckpointTest, ThereMayBeNone) {
  EXPECT_FALSE(load_latest(*local_, stage()));
  fs::create_directories(stage() + "/step-00000005.unfinished");
  fs::create_directories(stage() + "/step-x");
  folder_.write("run/checkpoints/sft/step-00000006", "a file");
  EXPECT_FALSE(load_latest(*local_, stage()));
}

// Not the same as none: the stage must not begin anew over what it cannot see.
TEST_F(CheckpointTest, AFolderThatCannotBeReadIsADataError) {
  folder_.write("run", "a file where the folder should be");
  EXPECT_THAT(message_of<DataError>([&] { load_latest(*local_, stage()); }), HasSubstr(stage()));
}

TEST_F(CheckpointTest, KeepsTheNewest) {
  save_steps({10, 20, 30, 40}, 2);
  EXPECT_THAT(steps(), ElementsAre(30, 40));
  save_steps({50}, 1);
  EXPECT_THAT(steps(), ElementsAre(50));
  save_steps({60}, 0);  // the one just saved always stays
  EXPECT_THAT(steps(), ElementsAre(60));
}

TEST_F(CheckpointTest, TheNewestIsByNumberNotByName) {
  save_steps({999999999, 99999999, 8});
  EXPECT_THAT(steps(), ElementsAre(8));  // a run that continues from an earlier step leaves them
  save_steps({99999999, 100000000});
  EXPECT_EQ(load_latest(*local_, stage())->step, 100000000);
}

// A run that passed over a damaged step, or was told to continue from an earlier one, saves steps
// below those that lie there.
TEST_F(CheckpointTest, WhatWasSavedLastIsWhatIsLoaded) {
  save_steps({10, 20, 30});
  save_steps({15}, 2);
  EXPECT_THAT(steps(), ElementsAre(10, 15));
  EXPECT_EQ(difference_of(*load_latest(*local_, stage()), 15), "");
  save_steps({40});
  fs::resize_file(step_folder(40) + "/state.json", 3);
  save_steps({25}, 1);
  EXPECT_EQ(difference_of(*load_latest(*local_, stage()), 25), "");
}

TEST_F(CheckpointTest, AStepIsReplaced) {
  save_steps({10});
  CheckpointContent other = content_of(10);
  other.state["third"] = 5;
  save_replicated(*local_, stage(), 10, other, info_of(10), 2);
  EXPECT_THAT(names(), ElementsAre("step-00000010"));
  EXPECT_EQ(load_latest(*local_, stage())->state["third"], 5);
}

TEST_F(CheckpointTest, WhatInterruptedSavesLeftIsRemoved) {
  save_steps({10});
  for (const char* name : {"/step-00000020.unfinished", "/step-00000010.older.unfinished"}) {
    fs::create_directories(stage() + name);
    write_file_atomically(stage() + name + "/state.json", "{");
  }
  EXPECT_EQ(load_latest(*local_, stage())->step, 10);
  save_steps({20});
  EXPECT_THAT(names(), testing::UnorderedElementsAre("step-00000010", "step-00000020"));
  EXPECT_EQ(difference_of(load(step_folder(20)), 20), "");
}

TEST_F(CheckpointTest, AFolderThatCannotBeIsADataErrorOnAllRanks) {
  folder_.write("run", "a file where the folder should be");
  const auto outcomes =
      parallel::outcomes_of_ranks(2, [&](parallel::Communicator& c) { save(c, stage(), 10, 2); });
  EXPECT_THAT(parallel::message_of_outcome<DataError>(outcomes[0]), HasSubstr("step-00000010"));
  EXPECT_THAT(parallel::message_of_outcome<DataError>(outcomes[1]),
              testing::StartsWith("rank 0: "));
}

// Lets no file of this process grow beyond `bytes` while it lives.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SmallDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST_F(CheckpointTest, AFullDiskLeavesTheEarlierOnes) {
  save_steps({10});
  for (const rlim_t bytes : {0, 200, 400}) {
    std::string message;
    {
      const SmallDisk disk(bytes);
      message = message_of<DataError>([&] { save_steps({20}, 1); });
    }
    EXPECT_THAT(message, HasSubstr("step-00000020")) << bytes;
    EXPECT_THAT(names(), ElementsAre("step-00000010")) << "a full disk needs the space";
    EXPECT_EQ(difference_of(*load_latest(*local_, stage()), 10), "");
  }
  save_steps({20}, 1);
  EXPECT_THAT(names(), ElementsAre("step-00000020"));
}

TEST_F(CheckpointTest, VerifyTakesAStepAStageAndARun) {
  save_steps({10, 20});
  save(*local_, folder_.file("run/checkpoints/grpo"), 5, 2);
  const auto found = [](const std::string& folder) {
    std::vector<std::pair<std::int64_t, bool>> out;
    for (const Verdict& v : verify(folder)) out.emplace_back(v.step, v.problem.empty());
    return out;
  };
  EXPECT_THAT(found(step_folder(10)), ElementsAre(std::pair(10, true)));
  EXPECT_THAT(found(step_folder(10) + "/"), ElementsAre(std::pair(10, true)));
  EXPECT_THAT(found(stage()), ElementsAre(std::pair(20, true), std::pair(10, true)));
  EXPECT_THAT(found(folder_.file("run")),
              ElementsAre(std::pair(5, true), std::pair(20, true), std::pair(10, true)));
  fs::remove(step_folder(20) + "/state.json");
  EXPECT_THAT(found(folder_.file("run/checkpoints")),
              ElementsAre(std::pair(5, true), std::pair(20, false), std::pair(10, true)));
  EXPECT_THAT(verify(step_folder(20))[0].problem, HasSubstr(step_folder(20) + "/state.json"));
  fs::remove(step_folder(10) + "/MANIFEST.json");
  for (const char* end : {"", "/"}) {
    ASSERT_EQ(verify(step_folder(10) + end).size(), 1u);
    EXPECT_EQ(verify(step_folder(10) + end)[0].step, 10);
    EXPECT_THAT(verify(step_folder(10) + end)[0].problem, HasSubstr("MANIFEST.json"));
  }
  EXPECT_THAT(found(folder_.file("")), IsEmpty());
  EXPECT_THROW(verify(folder_.file("nowhere")), DataError);
}

}  // namespace
}  // namespace limbic::checkpoint
