#include "launch/exit_code.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <new>

#include "trainer/base/error.h"

namespace limbic::launch {
namespace {

template <class E>
Failure of(const E& error) {
  return failure_of(std::make_exception_ptr(error));
}

TEST(ExitCode, SaysWhoMustAct) {
  EXPECT_EQ(of(ConfigError("a")).code, 2);
  EXPECT_EQ(of(DataError("a")).code, 2);
  EXPECT_EQ(of(Interrupted("a")).code, 75);
  EXPECT_EQ(of(CommError("a")).code, 76);
  EXPECT_EQ(of(RemoteError("a")).code, 76);
  EXPECT_EQ(of(std::logic_error("a")).code, 70);
  EXPECT_EQ(of(std::runtime_error("a")).code, 70);
  EXPECT_EQ(of(std::bad_alloc()).code, 70);
}

TEST(ExitCode, AFolderThatCannotBeWrittenIsForTheUser) {
  const Failure failure = of(std::filesystem::filesystem_error(
      "cannot create", "a/b", std::make_error_code(std::errc::permission_denied)));
  EXPECT_EQ(failure.code, 2);
  EXPECT_THAT(failure.message, testing::StartsWith("a/b: got \"Permission denied\", want"));
}

TEST(ExitCode, AFullGpuIsForTheUser) {
  try {
    TORCH_CHECK_WITH(OutOfMemoryError, false, "tried to allocate", "\n", "3 GB");
  } catch (...) {
    const Failure failure = failure_of(std::current_exception());
    EXPECT_EQ(failure.code, 2);
    EXPECT_THAT(failure.message, testing::HasSubstr("max_tokens_per_batch"));
    EXPECT_THAT(failure.message, testing::EndsWith("tried to allocate 3 GB"));
  }
}

TEST(ExitCode, MessagesAreOneLine) {
  EXPECT_EQ(of(DataError("f:3: got\nx")).message, "f:3: got x");
  EXPECT_EQ(of(DataError("f: got \033[2Jx\r\x7F")).message, "f: got  [2Jx  ");
  EXPECT_EQ(of(std::logic_error("broken")).message, "internal: broken");
  try {
    TORCH_CHECK(false, "shapes", "\n", "differ");
  } catch (...) {
    const Failure failure = failure_of(std::current_exception());
    EXPECT_EQ(failure.code, 70);
    EXPECT_THAT(failure.message, testing::StartsWith("internal: "));
    EXPECT_EQ(failure.message.find('\n'), std::string::npos);
  }
}

// A file can quote itself in any length; its name and what is wanted stay.
TEST(ExitCode, LongMessagesKeepBothEnds) {
  std::string name;
  for (int i = 0; i < 1'000'000; ++i) name += "\u00e9";
  for (const char* first : {"f.json", "g.jsons"}) {
    const std::string message =
        of(DataError(std::string(first) + ": got " + name + ", want less")).message;
    EXPECT_LT(message.size(), 2100u);
    EXPECT_THAT(message, testing::StartsWith(std::string(first) + ": got \u00e9"));
    EXPECT_THAT(message, testing::EndsWith("\u00e9, want less"));
    EXPECT_THAT(message, testing::HasSubstr("\u00e9 ... \u00e9"));
  }
}

}  // namespace
}  // namespace limbic::launch
