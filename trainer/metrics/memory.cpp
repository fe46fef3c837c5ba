#include "trainer/metrics/memory.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <string>

namespace limbic::metrics {
namespace {

std::atomic<std::int64_t> before_reset = 0;  // bytes

}  // namespace

std::int64_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    if (word != "VmHWM:") continue;
    std::int64_t kilobytes = 0;
    status >> kilobytes;
    return kilobytes * 1024;
  }
  return 0;
}

std::int64_t largest_rss_bytes() { return std::max(before_reset.load(), peak_rss_bytes()); }

void reset_peak_rss() {
  before_reset = largest_rss_bytes();
  std::ofstream("/proc/self/clear_refs") << "5";
}

}  // namespace limbic::metrics
