// Ranks that have a device each: what lies on the devices goes from one to the other by NCCL, all
// else by the communicator that has brought the ranks together.
#pragma once

#include <memory>

#include "trainer/device/accelerator.h"
#include "trainer/parallel/communicator.h"
#include "trainer/parallel/nccl/api.h"

namespace limbic::parallel {

// Where a rank's collectives run. The queue is one of `device`.
struct NcclPlace {
  at::Device device;
  std::shared_ptr<device::Queue> queue;
};

// Tensors on `place.device` go by NCCL, those on the CPU and bytes by `control`. Before NCCL is
// called, the ranks meet over `control`, so that mistakes and missing ranks are named as
// everywhere. A collective follows what the calling thread has started on the device and returns
// when it is done. NCCL adds in an order of its own, bfloat16 rounded at every rank: the sums are
// the same on all ranks, but not bit for bit those of other transports, nor those of
// reduce_scatter_sum.
//
// NCCL's communicators do not block: they are asked for errors while a call runs, and one that has
// failed, or is not done within the timeout, is aborted. That is CommError, and so is every later
// call with tensors on the device; `control` goes on, and must live longer. Every rank must call.
// The device must be that of the calling thread.
std::unique_ptr<Communicator> make_nccl(Communicator& control, const nccl::Table& table,
                                        NcclPlace place, double timeout_s);

}  // namespace limbic::parallel
