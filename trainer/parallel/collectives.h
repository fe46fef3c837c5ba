// Small collectives made from the communicator's: what stages need besides tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "trainer/parallel/communicator.h"

namespace limbic::parallel {

// Element-wise over all ranks, in float64. Every rank must call with the same number of values.
std::vector<double> sum(Communicator& communicator, std::vector<double> values);
std::vector<double> max(Communicator& communicator, std::vector<double> values);

// The text of rank 0 on all ranks.
std::string broadcast_text(Communicator& communicator, const std::string& text);

// Runs `work` on every rank and makes all of them fail when one does: a rank that threw rethrows
// its own error, the others throw CommError `rank R: MESSAGE` (ConfigError and DataError stay what
// they are). Nobody is left waiting in a later collective.
void together(Communicator& communicator, const std::function<void()>& work);

}  // namespace limbic::parallel
