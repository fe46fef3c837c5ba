// Which of the two implementations of limbic's own formulas computes.
#pragma once

#include <c10/core/Device.h>

namespace limbic {

enum class Math {
  kKernels,  // the fused loops of trainer/tensor/kernels; CPU only
  kAten,     // plain ATen formulas; every device
};

// What a device computes with unless it is asked otherwise.
inline Math math_of(c10::Device device) { return device.is_cpu() ? Math::kKernels : Math::kAten; }

}  // namespace limbic
