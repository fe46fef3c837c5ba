#include "trainer/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "trainer/base/error.h"
#include "trainer/base/json_file.h"

namespace limbic {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class File : public testing::Test {
 protected:
  File() : folder_(fs::path(testing::TempDir()) / ("file_test_" + std::to_string(::getpid()))) {
    fs::create_directories(folder_);
  }
  ~File() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_))
      out.push_back(entry.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }
  template <class F>
  static std::string error_of(const F& work) {
    try {
      work();
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

TEST_F(File, AppearsWhenItIsCommitted) {
  {
    AtomicFile file(path("new/out"));
    file.write("half");
    EXPECT_FALSE(fs::exists(path("new/out")));
  }
  EXPECT_TRUE(fs::is_empty(path("new")));
  AtomicFile file(path("new/out"));
  file.write("whole");
  file.commit();
  EXPECT_EQ(read_file(path("new/out")), "whole");
}

TEST_F(File, AFolderOfThisNameIsRefusedAtOnce) {
  fs::create_directories(path("out"));
  EXPECT_EQ(error_of([&] { AtomicFile file(path("out")); }),
            path("out") + ": got a folder, want a file that can be written");
  EXPECT_THAT(error_of([&] { AtomicFile file(path("new/")); }), HasSubstr("got a folder"));
  EXPECT_THAT(names(), ElementsAre("out"));
}

TEST_F(File, AFailedCommitLeavesNothing) {
  EXPECT_THAT(error_of([&] {
                AtomicFile file(path("out"));
                fs::create_directories(path("out"));
                file.commit();
              }),
              HasSubstr("cannot rename"));
  EXPECT_THAT(names(), ElementsAre("out"));
}

TEST_F(File, ALinkKeepsPointingAtItsFile) {
  write_file_atomically(path("target"), "old");
  fs::create_symlink("target", path("link"));
  write_file_atomically(path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(read_file(path("target")), "new");
}

// /dev/stdout is such a link.
TEST_F(File, APipeIsWrittenToAndNotReplaced) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  fs::create_symlink("/proc/self/fd/" + std::to_string(ends[1]), path("out"));
  write_file_atomically(path("out"), "rows");
  EXPECT_TRUE(fs::is_symlink(path("out")));
  char text[8] = {};
  EXPECT_EQ(::read(ends[0], text, sizeof text), 4);
  EXPECT_STREQ(text, "rows");
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(File, BrokenJsonIsNamedByItsPlaceAlone) {
  write_file_atomically(path("c.json"), "{\"a\": 1,\n \"b\" 2}");
  EXPECT_THAT(error_of([&] { read_json_object(path("c.json")); }),
              AllOf(HasSubstr(path("c.json") + ": got broken JSON (line 2, column 6: "),
                    Not(HasSubstr("exception"))));
  write_file_atomically(path("c.json"), "[1]");
  EXPECT_EQ(error_of([&] { read_json_object(path("c.json")); }),
            path("c.json") + ": got array, want a JSON object");
}

}  // namespace
}  // namespace limbic
