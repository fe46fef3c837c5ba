#include "rewards/judge/verdict_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/unit/judge/judging.h"

namespace limbic::rewards {
namespace {

namespace fs = std::filesystem;

class Cache : public testing::Test {
 protected:
  Cache() { fs::remove_all(folder_); }
  ~Cache() override { fs::remove_all(folder_); }
  std::string path() const { return (folder_ / "deep" / "verdicts.sqlite").string(); }

 private:
  fs::path folder_ =
      fs::temp_directory_path() / ("limbic_cache_" + std::to_string(getpid()) +
                                   testing::UnitTest::GetInstance()->current_test_info()->name());
};

const VerdictKey kKey{"judge", "rubric", "text", 0};
const Verdict kVerdict{{4.1111111111111107, 0, 1}, "because \"ü\""};

TEST_F(Cache, KeepsVerdictsOverRunsToTheLastBit) {
  { VerdictCache(path()).store(kKey, kVerdict); }
  EXPECT_EQ(VerdictCache(path()).find(kKey, 3), kVerdict);
}

TEST_F(Cache, NothingIsWrittenBeforeItIsUsed) {
  VerdictCache cache(path());
  EXPECT_FALSE(fs::exists(path()));
  cache.open();
  EXPECT_TRUE(fs::exists(path()));
}

TEST_F(Cache, EveryPartOfTheKeyCounts) {
  VerdictCache cache(path());
  cache.store(kKey, kVerdict);
  for (const VerdictKey& other :
       {VerdictKey{"judge2", "rubric", "text", 0}, VerdictKey{"judge", "rubric2", "text", 0},
        VerdictKey{"judge", "rubric", "text2", 0}, VerdictKey{"judge", "rubric", "text", 1},
        VerdictKey{"judge\nrubric", "", "text", 0}}) {
    EXPECT_EQ(cache.find(other, 3), std::nullopt);
  }
}

TEST_F(Cache, TheFirstVerdictStays) {
  VerdictCache cache(path());
  cache.store(kKey, kVerdict);
  cache.store(kKey, {{1, 1, 1}, "other"});
  EXPECT_EQ(cache.find(kKey, 3), kVerdict);
}

TEST_F(Cache, TwoOpenFilesAndManyThreadsShareIt) {
  VerdictCache first(path());
  VerdictCache second(path());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      VerdictCache& cache = t % 2 == 0 ? first : second;
      for (int i = 0; i < 10; ++i) {
        cache.store({"judge", "rubric", std::to_string(t * 10 + i), 0}, {{t * 10.0 + i}, ""});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 40; ++i) {
    const auto found = first.find({"judge", "rubric", std::to_string(i), 0}, 1);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->values.front(), i);
  }
}

TEST_F(Cache, ForeignAndDamagedFilesAreRefused) {
  write_file_atomically(path(), "this is no database, and long enough to be looked at as one");
  VerdictCache foreign(path());
  EXPECT_THROW(foreign.open(), DataError);
  EXPECT_THROW(foreign.find(kKey, 3), DataError);
  EXPECT_THROW(VerdictCache("/proc/nothing/here.sqlite").open(), DataError);
  fs::remove(path());
  VerdictCache cache(path());
  cache.store(kKey, kVerdict);
  EXPECT_THROW(cache.find(kKey, 2), DataError);
}

}  // namespace
}  // namespace limbic::rewards
