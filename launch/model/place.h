// Where a process computes, and in which type.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>

#include "launch/config/run_config.h"
#include "trainer/device/accelerator.h"

namespace limbic::launch {

struct Place {
  at::Device device = at::kCPU;
  at::ScalarType compute = at::kFloat;
  std::string name = "CPU";
  std::shared_ptr<device::Accelerator> accelerator;  // null on the CPU

  // The most memory that tensors have held on a GPU, in MB; 0 on the CPU.
  std::int64_t peak_gpu_mb() const;
};

// `auto` takes the GPU when a driver, a device and the module are there and says so in one line; a
// GPU that cannot be used is warned about. A rank takes the device of its number among the ranks of
// its machine; more ranks than devices share them. The type that `auto` means is bfloat16 when the
// place multiplies it natively. `deterministic` makes torch choose the GPU operations that give the
// same bits. Call before anything asks torch for CUDA. Throws ConfigError that begins with `where`
// (the key or option that asked): cuda without a usable GPU, bfloat16 on one that has none.
Place choose_place(Device wanted, Dtype dtype, bool deterministic, const std::string& where);
Place choose_place(const RunSection& run);

// The device of a rank. Fewer devices than ranks on the machine: they take turns.
int device_of_rank(std::int64_t local_rank, int devices);

// Ranks of this machine, and the number of this one among them, as the launcher says; 1 and 0
// without one.
std::int64_t local_ranks();
std::int64_t local_rank();

}  // namespace limbic::launch
