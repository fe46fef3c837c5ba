// AdamW on flat float32 buffers. Source: arXiv:1711.05101; the arithmetic of torch.optim.AdamW
// (bias-corrected moments, eps outside the root, decay applied to the weight before the update).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>

#include "trainer/base/fields.h"
#include "trainer/tensor/math.h"

namespace limbic::optim {

struct AdamwConfig {
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double weight_decay = 0.0;
};
void describe(Fields& f, AdamwConfig& c);

class Adamw {
 public:
  // `size` elements of state, all zero. math is that of the device unless given.
  Adamw(const AdamwConfig& config, std::int64_t size, at::Device device)
      : Adamw(config, size, device, math_of(device)) {}
  Adamw(const AdamwConfig& config, std::int64_t size, at::Device device, Math math);

  // One update of all weights from gradients * gradient_scale. Piece by piece; the state has the
  // pieces one behind the other, `size` elements in all. Throws nothing.
  void step(std::span<const at::Tensor> weights, std::span<const at::Tensor> gradients,
            double learning_rate, double gradient_scale);
  // One piece.
  void step(const at::Tensor& weight, const at::Tensor& gradient, double learning_rate,
            double gradient_scale) {
    step(std::span(&weight, 1), std::span(&gradient, 1), learning_rate, gradient_scale);
  }

  // State for checkpoints; both [size] float32.
  at::Tensor first_moment, second_moment;
  std::int64_t steps = 0;

 private:
  AdamwConfig config_;
  Math math_;
};

// Euclidean norm, summed in double precision in a fixed order (the same for every thread count).
double l2_norm(const at::Tensor& flat, Math math);
inline double l2_norm(const at::Tensor& flat) { return l2_norm(flat, math_of(flat.device())); }

// The factor that clips a gradient of norm `norm` to `max_norm` as torch does: min(1, max / (norm +
// 1e-6)). max_norm 0 switches clipping off.
double clip_factor(double norm, double max_norm);

}  // namespace limbic::optim
