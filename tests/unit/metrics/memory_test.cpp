#include "trainer/metrics/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

namespace limbic::metrics {
namespace {

constexpr std::size_t kBytes = 64 << 20;

// Memory that is touched and given back, past any allocator.
void touch() {
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  munmap(memory, kBytes);
}

TEST(PeakRss, RemembersUntilItIsReset) {
  reset_peak_rss();
  const std::int64_t before = peak_rss_bytes();
  ASSERT_GT(before, 0);
  touch();
  const std::int64_t after = peak_rss_bytes();
  EXPECT_GT(after, before + static_cast<std::int64_t>(kBytes) / 2);
  reset_peak_rss();
  EXPECT_LT(peak_rss_bytes(), after - static_cast<std::int64_t>(kBytes) / 2);
  EXPECT_GE(largest_rss_bytes(), after);
}

}  // namespace
}  // namespace limbic::metrics
