#include "launch/config/reference.h"

#include <gtest/gtest.h>

#include "trainer/base/file.h"

namespace limbic::launch {
namespace {

TEST(ConfigReference, PageIsWhatTheCodeSays) {
  EXPECT_EQ(read_file(LIMBIC_SOURCE_DIR "/docs/config.md"), config_reference())
      << "run: build/release/limbic --config-reference > docs/config.md";
}

}  // namespace
}  // namespace limbic::launch
