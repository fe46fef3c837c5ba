#include "trainer/optim/adamw.h"

#include <ATen/Parallel.h>

#include <cmath>

#include "trainer/base/error.h"
#include "trainer/tensor/kernels/kernels.h"

namespace limbic::optim {
namespace {

constexpr double kLargestDecay = 1.0 - 1e-7;  // at 1 the bias correction would divide by 0
constexpr std::int64_t kBlock = 1 << 16;
constexpr std::int64_t kAtenBlock = 1 << 26;  // bounds the memory of what ATen makes in between

void step_with_aten(at::Tensor weight, const at::Tensor& gradient, at::Tensor first,
                    at::Tensor second, const kernels::AdamwStep& step) {
  const at::Tensor scaled = gradient * step.gradient_scale;
  first.lerp_(scaled, step.rest1);
  second.mul_(step.beta2).addcmul_(scaled, scaled, step.rest2);
  weight.mul_(1.0 - step.learning_rate * step.weight_decay);
  const at::Tensor denominator =
      second.sqrt().div_(std::sqrt(step.bias_correction2)).add_(step.eps);
  weight.addcdiv_(first, denominator, -step.learning_rate / step.bias_correction1);
}

void update(at::Tensor weight, const at::Tensor& gradient, at::Tensor first, at::Tensor second,
            const kernels::AdamwStep& step, Math math) {
  if (math == Math::kAten) {
    for (std::int64_t begin = 0; begin < weight.numel(); begin += kAtenBlock) {
      const auto block = [&](const at::Tensor& x) {
        return x.slice(0, begin, std::min(weight.numel(), begin + kAtenBlock));
      };
      step_with_aten(block(weight), block(gradient), block(first), block(second), step);
    }
    return;
  }
  at::parallel_for(0, weight.numel(), kBlock, [&](std::int64_t begin, std::int64_t end) {
    kernels::kernels().adamw(step, weight.data_ptr<float>(), gradient.data_ptr<float>(),
                             first.data_ptr<float>(), second.data_ptr<float>(), begin, end);
  });
}

double norm_with_aten(const at::Tensor& flat) {
  at::Tensor sum = at::zeros({}, flat.options().dtype(at::kDouble));
  for (const at::Tensor& block : flat.split(kAtenBlock)) {
    sum.add_(block.to(at::kDouble).square_().sum());
  }
  return sum.sqrt().item<double>();
}

}  // namespace

void describe(Fields& f, AdamwConfig& c) {
  f.field("adam_beta1", c.adam_beta1, "decay of the first moment",
          Bounds::between(0.0, kLargestDecay));
  f.field("adam_beta2", c.adam_beta2, "decay of the second moment",
          Bounds::between(0.0, kLargestDecay));
  f.field("adam_epsilon", c.adam_epsilon, "added to the root of the second moment",
          Bounds::positive());
  f.field("weight_decay", c.weight_decay, "decoupled weight decay", Bounds::at_least(0.0));
}

Adamw::Adamw(const AdamwConfig& config, std::int64_t size, at::Device device, Math math)
    : config_(config), math_(math) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  first_moment = at::zeros({size}, options);
  second_moment = at::zeros({size}, options);
}

void Adamw::step(std::span<const at::Tensor> weights, std::span<const at::Tensor> gradients,
                 double learning_rate, double gradient_scale) {
  at::NoGradGuard no_grad;
  ++steps;
  const auto power = static_cast<double>(steps);
  const kernels::AdamwStep step{
      .learning_rate = static_cast<float>(learning_rate),
      .beta2 = static_cast<float>(config_.adam_beta2),
      .eps = static_cast<float>(config_.adam_epsilon),
      .weight_decay = static_cast<float>(config_.weight_decay),
      .rest1 = static_cast<float>(1.0 - config_.adam_beta1),
      .rest2 = static_cast<float>(1.0 - config_.adam_beta2),
      .bias_correction1 = static_cast<float>(1.0 - std::pow(config_.adam_beta1, power)),
      .bias_correction2 = static_cast<float>(1.0 - std::pow(config_.adam_beta2, power)),
      .gradient_scale = static_cast<float>(gradient_scale)};
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::int64_t end = begin + weights[i].numel();
    check(gradients[i].numel() == weights[i].numel() && end <= first_moment.numel(),
          "AdamW buffers differ in size");
    update(weights[i], gradients[i], first_moment.slice(0, begin, end),
           second_moment.slice(0, begin, end), step, math_);
    begin = end;
  }
  check(begin == first_moment.numel(), "AdamW buffers differ in size");
}

double l2_norm(const at::Tensor& flat, Math math) {
  if (math == Math::kAten) return norm_with_aten(flat);
  const std::int64_t blocks = (flat.numel() + kBlock - 1) / kBlock;
  std::vector<double> partial(static_cast<std::size_t>(blocks));
  const float* values = flat.data_ptr<float>();
  at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      partial[static_cast<std::size_t>(b)] = kernels::kernels().sum_of_squares(
          values, b * kBlock, std::min(flat.numel(), (b + 1) * kBlock));
    }
  });
  double sum = 0.0;
  for (const double value : partial) sum += value;
  return std::sqrt(sum);
}

double clip_factor(double norm, double max_norm) {
  if (max_norm <= 0.0) return 1.0;
  const double factor = max_norm / (norm + 1e-6);
  return factor >= 1.0 ? 1.0 : factor;  // stays not a number when the norm is
}

}  // namespace limbic::optim
