// What a run would be, without training: parameters, memory, steps, the first batch.
#pragma once

#include "launch/config/run_config.h"

namespace limbic::launch {

// Prints to stdout. Reads the tokenizer and the data, not the weights. Throws what the run itself
// would throw before its first step.
void inspect(const RunConfig& config, int world);

}  // namespace limbic::launch
