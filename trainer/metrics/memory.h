// Resident memory of this process, as Linux counts it.
#pragma once

#include <cstdint>

namespace limbic::metrics {

// The most since the process began, or since `reset_peak_rss`; bytes. 0 where /proc does not tell.
std::int64_t peak_rss_bytes();
// The most since the process began, whatever was reset.
std::int64_t largest_rss_bytes();
// The peak begins anew at what is resident now. Does nothing where /proc cannot.
void reset_peak_rss();

}  // namespace limbic::metrics
