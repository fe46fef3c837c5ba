// Communicators over the double of NCCL, with tensors in host memory.
#pragma once

#include <memory>

#include "tests/support/nccl/nccl_double.h"
#include "trainer/parallel/communicator.h"

namespace limbic::test {

// Loaded once; what it exports besides NCCL's functions.
const NcclDouble& nccl_double();

// The NCCL communicator of this rank, all of whose tensors go by the double. Every rank must call;
// `control` must live longer.
std::unique_ptr<parallel::Communicator> make_double_rank(parallel::Communicator& control,
                                                         double timeout_s,
                                                         at::Device device = at::kCPU);

// A fault while it lives; everything is sound afterwards.
class FaultyNccl {
 public:
  explicit FaultyNccl(NcclFault fault, int rank = 0, int call = 1) {
    nccl_double().set_fault(fault, rank, call);
  }
  ~FaultyNccl() { nccl_double().set_fault(NcclFault::kNone, 0, 0); }
  FaultyNccl(const FaultyNccl&) = delete;
  FaultyNccl& operator=(const FaultyNccl&) = delete;
};

}  // namespace limbic::test
