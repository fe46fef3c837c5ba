// Private to this folder: the step from tensors to the raw kernels.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "trainer/base/error.h"
#include "trainer/tensor/kernels/kernels.h"

namespace limbic::model {

// Calls f(table, X{}) with the kernels of the activation type, float32 or bfloat16.
template <class F>
void with_kernels(at::ScalarType type, F f) {
  if (type == at::kFloat) {
    f(kernels::kernels().f32, float{});
  } else {
    check(type == at::kBFloat16, "activations are float32 or bfloat16");
    f(kernels::kernels().bf16, kernels::Bf16{});
  }
}

template <class X>
X* raw(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<X*>(tensor.data_ptr()) : nullptr;
}

// Autograd functions take tensors that may be undefined as optionals.
inline std::optional<at::Tensor> maybe(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

// Rows per thread chunk so that a chunk touches at least ~16k elements.
inline std::int64_t grain(std::int64_t width) {
  return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, width));
}

}  // namespace limbic::model
