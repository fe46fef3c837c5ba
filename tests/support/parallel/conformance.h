// What a communicator must do, whatever carries it: one list of checks for all of them. Every rank
// of a world runs all checks in their order; any rank can make what any other puts in, and so knows
// the right answer.
#pragma once

#include <span>
#include <stdexcept>
#include <string>

#include "trainer/parallel/communicator.h"

namespace limbic::parallel {

struct WrongResult : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// Throws WrongResult.
void expect(bool right, const std::string& what);

struct Checked {
  Communicator& communicator;
  at::Device device = at::kCPU;  // where its tensors lie
  bool rank_order = true;        // sums have the bits of adding in the order of the ranks
};

struct Check {
  const char* name;
  void (*run)(const Checked& checked);  // throws WrongResult
};
std::span<const Check> conformance_checks();

// What rank `rank` puts in. Values of very different size, so that another order of summing gives
// other bits.
at::Tensor values_of(int rank, std::int64_t count, at::ScalarType type);

}  // namespace limbic::parallel
