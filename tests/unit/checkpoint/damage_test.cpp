// Whatever happens to a file of a checkpoint, it is noticed and an older checkpoint is taken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/support/temp_folder.h"
#include "tests/unit/checkpoint/contents.h"
#include "tests/unit/parallel/ranks.h"
#include "trainer/base/error.h"
#include "trainer/base/log.h"
#include "trainer/checkpoint/step_folder.h"

namespace limbic::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::message_of;
using testing::HasSubstr;

void overwrite(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

class DamageTest : public testing::Test {
 protected:
  DamageTest() : level_(spdlog::get_level()) {
    spdlog::set_level(spdlog::level::off);  // hundreds of warnings
    save(*local_, stage_, 10, 9);
    save(*local_, stage_, 20, 9);
  }
  ~DamageTest() override { spdlog::set_level(level_); }

  std::string path(const std::string& file) const { return newest_ + "/" + file; }
  // Step 20 is refused with a message that names the file, and step 10 is taken.
  void expect_passed_over(const std::string& file, const std::string& what) {
    EXPECT_THAT(message_of<DataError>([&] { load(newest_); }), HasSubstr(path(file))) << what;
    const auto loaded = load_latest(*local_, stage_);
    ASSERT_TRUE(loaded) << what;
    EXPECT_EQ(difference_of(*loaded, 10), "") << what;
  }

  test::TempFolder folder_;
  std::unique_ptr<parallel::Communicator> local_ = parallel::make_local();
  const std::string stage_ = folder_.file("sft");
  const std::string newest_ = stage_ + "/" + step_name(20);
  spdlog::level::level_enum level_;
};

TEST_F(DamageTest, EveryFileMayBeRemoved) {
  for (const std::string file : kFiles) {
    const std::string before = read_file(path(file));
    fs::remove(path(file));
    expect_passed_over(file, file);
    fs::create_directory(path(file));
    expect_passed_over(file, file + " is a folder");
    fs::remove(path(file));
    overwrite(path(file), before);
  }
  EXPECT_EQ(load_latest(*local_, stage_)->step, 20);
}

TEST_F(DamageTest, EveryFileMayBeCutOrGrow) {
  for (const std::string file : kFiles) {
    const std::string before = read_file(path(file));
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, before.size() / 2, before.size() - 2}) {
      overwrite(path(file), before.substr(0, size));
      expect_passed_over(file, fmt::format("{} cut to {} bytes", file, size));
    }
    overwrite(path(file), before + "x");
    expect_passed_over(file, file + " with a byte more");
    overwrite(path(file), before);
  }
  EXPECT_EQ(load_latest(*local_, stage_)->step, 20);
}

class EveryByte : public DamageTest, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Files, EveryByte, testing::ValuesIn(kFiles));

// One bit of every byte, a different one from byte to byte.
TEST_P(EveryByte, MayChange) {
  const std::string name = GetParam();
  const std::string before = read_file(path(name));
  std::fstream file(path(name), std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](std::size_t at, char byte) {
    file.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
  };
  for (std::size_t i = 0; i < before.size(); ++i) {
    put(i, static_cast<char>(before[i] ^ (1 << (i % 8))));
    try {
      // White space of the manifest is all that may change unnoticed.
      ASSERT_EQ(difference_of(load(newest_), 20), "") << "byte " << i;
      ASSERT_TRUE(std::isspace(static_cast<unsigned char>(before[i]))) << "byte " << i;
      ASSERT_EQ(name, "MANIFEST.json") << "byte " << i;
    } catch (const DataError& error) {
      ASSERT_THAT(error.what(), HasSubstr(newest_)) << "byte " << i;
    }
    put(i, before[i]);
  }
  EXPECT_EQ(difference_of(load(newest_), 20), "");
}

TEST_F(DamageTest, ZerosInPlaceOfTensorsAreNoticed) {
  overwrite(path("state.safetensors"), std::string(fs::file_size(path("state.safetensors")), '\0'));
  expect_passed_over("state.safetensors", "zeros");
}

TEST_F(DamageTest, ManifestsOfOtherProgramsAreRefused) {
  const Json manifest = read_manifest(newest_);
  const std::vector<std::pair<std::string, std::function<void(Json&)>>> cases = {
      {"another schema", [](Json& m) { m["schema_version"] = 2; }},
      {"no number", [](Json& m) { m["schema_version"] = "1"; }},
      {"another step", [](Json& m) { m["step"] = 21; }},
      {"no step", [](Json& m) { m.erase("step"); }},
      {"no info", [](Json& m) { m.erase("info"); }},
      {"changed info", [](Json& m) { m["info"]["world"] = 3; }},
      {"no files", [](Json& m) { m.erase("files"); }},
      {"empty files", [](Json& m) { m["files"] = Json::array(); }},
      {"one file", [](Json& m) { m["files"].erase(1); }},
      {"odd files",
       [](Json& m) {
         m["files"] = {1, "two"};
       }},
      {"a list", [](Json& m) { m = Json::array({1}); }},
      {"null", [](Json& m) { m = nullptr; }}};
  for (const auto& [what, change] : cases) {
    Json changed = manifest;
    change(changed);
    overwrite(path("MANIFEST.json"), changed.dump());
    expect_passed_over("MANIFEST.json", what);
  }
  Json foreign = manifest;
  foreign["schema_version"] = 2;
  overwrite(path("MANIFEST.json"), foreign.dump());
  EXPECT_THAT(message_of<DataError>([&] { load(newest_); }),
              HasSubstr("got schema version 2, want 1"));
}

// A manifest that is whole in itself but does not hold what a checkpoint needs.
TEST_F(DamageTest, AnEntryThatMissesIsNamed) {
  Json manifest = read_manifest(newest_);
  manifest["files"].erase(1);
  EXPECT_THAT(message_of<DataError>([&] { check_files(newest_, manifest); }),
              HasSubstr("got no entry of state.json"));
  manifest["files"][0].erase("sha256");
  EXPECT_THROW(check_files(newest_, manifest), DataError);
}

TEST_F(DamageTest, AllDamagedIsADataErrorOnEveryRank) {
  for (const std::int64_t step : {10, 20}) {
    fs::resize_file(stage_ + "/" + step_name(step) + "/state.safetensors", 9);
  }
  const auto outcomes =
      parallel::outcomes_of_ranks(2, [&](parallel::Communicator& c) { load_latest(c, stage_); });
  for (const auto& outcome : outcomes) {
    EXPECT_THAT(parallel::message_of_outcome<DataError>(outcome),
                HasSubstr("got 2 checkpoints, all damaged"));
  }
  const auto verdicts = verify(stage_);
  ASSERT_EQ(verdicts.size(), 2u);
  for (const Verdict& verdict : verdicts) EXPECT_THAT(verdict.problem, HasSubstr("got 9 bytes"));
}

TEST_F(DamageTest, EveryRankTakesTheOlderOne) {
  fs::remove(path("state.json"));
  parallel::run_ranks(3, [&](parallel::Communicator& c) {
    EXPECT_EQ(difference_of(*load_latest(c, stage_), 10), "");
  });
}

}  // namespace
}  // namespace limbic::checkpoint
