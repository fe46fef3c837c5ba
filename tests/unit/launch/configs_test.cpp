// The experiment files that come with limbic are read without complaint.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "launch/config/rewards_file.h"
#include "launch/config/run_config.h"
#include "trainer/base/yaml_config.h"

namespace limbic::launch {
namespace {

namespace fs = std::filesystem;

// Paths in the files are relative to the repository.
class Configs : public testing::Test {
 protected:
  Configs() { fs::current_path(LIMBIC_SOURCE_DIR); }
  ~Configs() override { fs::current_path(before_); }

 private:
  fs::path before_ = fs::current_path();
};

TEST_F(Configs, EveryFileIsRead) {
  int runs = 0, workers = 0;
  for (const auto& entry : fs::directory_iterator("configs")) {
    if (entry.path().extension() != ".yaml") continue;
    const std::string path = entry.path().string();
    const YamlDocument document = YamlDocument::load(path);
    if (document.has("stages") || document.has("eval")) {
      ++runs;
      EXPECT_NO_THROW(load_run_config(path, {})) << path;
    } else {
      ++workers;
      EXPECT_NO_THROW({
        RewardsFile file = load_rewards_file(path, {});
        file.rewards.remote.workers.clear();
        if (file.rewards.graph) rewards::make_scorer(file.rewards, file.context);
      }) << path;
    }
  }
  EXPECT_GT(runs, 0);
  EXPECT_GT(workers, 0);
}

// Data that the files name lies in the repository (what scripts download does not).
TEST_F(Configs, SamplesAreThere) {
  for (const auto& entry : fs::directory_iterator("configs")) {
    if (entry.path().extension() != ".yaml") continue;
    if (!YamlDocument::load(entry.path().string()).has("stages")) continue;
    for (const auto& [name, dataset] : load_run_config(entry.path().string(), {}).datasets) {
      for (const std::string& path : dataset.path) {
        if (path.starts_with("data/samples/")) {
          EXPECT_TRUE(fs::exists(path)) << entry.path() << ": " << name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace limbic::launch
