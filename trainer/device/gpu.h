// Whether this machine has a GPU that could be used. Looks for the driver at run time; nothing of
// CUDA is linked into the binary.
#pragma once

#include <string>

namespace limbic::device {

struct GpuReport {
  int devices = 0;
  std::string reason;  // why there are none
};
// Loads the driver library and counts devices; never throws.
GpuReport find_gpus();

}  // namespace limbic::device
