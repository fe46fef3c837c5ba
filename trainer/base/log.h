// Levelled lines on stderr. Libraries take a `Log&`-free route on purpose: spdlog's default logger
// is configured once by `launch`, and only rank 0 prints below `warn`.
#pragma once

#include <spdlog/spdlog.h>

namespace limbic {

// Sends the log to stderr; ranks other than 0 print warnings and errors only, prefixed by their
// rank.
void configure_log(int rank, int world);

}  // namespace limbic
