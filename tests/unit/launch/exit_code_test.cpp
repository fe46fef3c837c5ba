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

}  // namespace
}  // namespace limbic::launch
