// Small collectives made from the communicator's: what stages need besides tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "trainer/parallel/communicator.h"

namespace limbic::parallel {

// Element-wise over all ranks, in float64; the same bits on all ranks. A NaN of any rank gives NaN.
// Every rank must call with the same number of values; CommError on all ranks otherwise.
std::vector<double> sum(Communicator& communicator, std::vector<double> values);
std::vector<double> max(Communicator& communicator, std::vector<double> values);

// The text of rank 0 on all ranks.
std::string broadcast_text(Communicator& communicator, const std::string& text);

// Runs `work` on every rank and makes all of them fail when one does: a rank that threw rethrows
// its own error, the others throw `rank R: MESSAGE` for the first rank that threw, of the same kind
// (ConfigError, DataError, RemoteError, Interrupted; CommError for anything else). Nobody is left
// waiting in a later collective. A CommError of `work` itself passes through at once: the others
// cannot be told.
void together(Communicator& communicator, const std::function<void()>& work);

}  // namespace limbic::parallel
