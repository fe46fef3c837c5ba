// Ctrl-C and SIGTERM ask a run to save and end; a second one ends it at once.
#pragma once

#include <atomic>

namespace limbic::launch {

// Installs handlers for SIGINT and SIGTERM and returns the flag that they set.
const std::atomic<bool>& watch_stop_signals();

// For commands without state to save: blocks SIGINT and SIGTERM in this thread and those made
// later; returns the first that arrives. Call `block` before threads start.
void block_stop_signals();
int wait_for_stop_signal();

}  // namespace limbic::launch
