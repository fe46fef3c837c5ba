// Tensors with names, in a fixed order: what weight files, checkpoints and exports exchange.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace limbic {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};
using NamedTensors = std::vector<NamedTensor>;

}  // namespace limbic
