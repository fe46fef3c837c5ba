#include "trainer/model/linear.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/custom_function.h>

#include "trainer/model/kernel_call.h"

namespace limbic::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// y += scale * inner b^T for every adapted part.
void add_parts(const at::Tensor& y, const at::Tensor& inner, const at::Tensor& b,
               const std::vector<LinearPart>& adapted) {
  const std::int64_t rank = b.size(1);
  std::int64_t row = 0;
  for (std::size_t i = 0; i < adapted.size(); ++i) {
    const LinearPart& part = adapted[i];
    const std::int64_t column = static_cast<std::int64_t>(i) * rank;
    y.slice(1, part.row, part.row + part.rows)
        .addmm_(inner.slice(1, column, column + rank), b.slice(0, row, row + part.rows).t(), 1,
                part.scale);
    row += part.rows;
  }
}

// Where the kernel beats ATen (measured on AVX-512, batches of a power of two): fewer rows are
// matrix-vector products, more repay the packing, and small matrices stay in the cache either way.
bool has_few_rows(const at::Tensor& x, const at::Tensor& w) {
  constexpr std::int64_t kLeast = 8, kMost = 64, kLargeMatrix = std::int64_t{1} << 18;
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.size(0) >= kLeast && x.size(0) <= kMost &&
         w.numel() >= kLargeMatrix && w.is_contiguous() && x.stride(1) == 1;
}

at::Tensor multiply_few(const at::Tensor& x, const at::Tensor& w) {
  const kernels::Kernels& table = kernels::kernels();
  const std::int64_t rows = x.size(0), depth = x.size(1), out = w.size(0);
  const at::Tensor turned = at::empty({depth, table.few_rows_padded(rows)}, x.options());
  at::parallel_for(0, depth, grain(rows), [&](std::int64_t begin, std::int64_t end) {
    table.turn_rows(raw<float>(x), x.stride(0), rows, begin, end, raw<float>(turned));
  });
  const at::Tensor y = at::empty({rows, out}, x.options());
  const kernels::FewRowsProduct job{.turned = raw<float>(turned),
                                    .w = raw<float>(w),
                                    .y = raw<float>(y),
                                    .y_row = out,
                                    .rows = rows,
                                    .depth = depth};
  at::parallel_for(0, out, grain(rows * depth), [&](std::int64_t begin, std::int64_t end) {
    table.few_rows_product(job, begin, end);
  });
  return y;
}

// x w^T + bias; the bias may be undefined.
at::Tensor base_product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  if (has_few_rows(x, w)) {
    const at::Tensor y = multiply_few(x, w);
    return bias.defined() ? y.add_(bias) : y;
  }
  return bias.defined() ? at::addmm(bias.to(x.scalar_type()), x, w.t()) : at::mm(x, w.t());
}

std::vector<LinearPart> adapted_parts(const Linear& layer) {
  std::vector<LinearPart> adapted;
  for (const LinearPart& part : layer.parts) {
    if (part.rank > 0) adapted.push_back(part);
  }
  return adapted;
}

struct PartsHolder : torch::CustomClassHolder {
  std::vector<LinearPart> adapted;
};

struct AdaptedLinear : Function<AdaptedLinear> {
  // `low` is the adapter's input: x, or x after dropout.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x,
                            const std::optional<at::Tensor>& maybe_low,
                            const std::optional<at::Tensor>& weight, const at::Tensor& compute,
                            const std::optional<at::Tensor>& maybe_bias,
                            const std::optional<at::Tensor>& maybe_a,
                            const std::optional<at::Tensor>& maybe_b,
                            const std::vector<LinearPart>& adapted) {
    const at::Tensor low = maybe_low.value_or(at::Tensor());
    const at::Tensor bias = maybe_bias.value_or(at::Tensor());
    const at::Tensor a = maybe_a.value_or(at::Tensor());
    const at::Tensor b = maybe_b.value_or(at::Tensor());
    const at::Tensor y = base_product(x, compute, bias);
    at::Tensor a_low, b_low, inner;
    if (a.defined()) {
      a_low = a.to(x.scalar_type());
      b_low = b.to(x.scalar_type());
      inner = at::mm(low, a_low.t());
      add_parts(y, inner, b_low, adapted);
    }
    ctx->save_for_backward({x, low, compute, a_low, b_low, inner});
    auto holder = c10::make_intrusive<PartsHolder>();
    holder->adapted = adapted;
    ctx->saved_data["parts"] = c10::IValue::make_capsule(std::move(holder));
    ctx->saved_data["x"] = x.requires_grad();
    ctx->saved_data["low"] = low.defined() && low.requires_grad();
    ctx->saved_data["weight"] = weight && weight->requires_grad();
    ctx->saved_data["bias"] = bias.defined() && bias.requires_grad();
    ctx->saved_data["adapter"] = a.defined() && a.requires_grad();
    ctx->saved_data["shared"] = low.defined() && low.is_same(x);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &low = saved[1], &compute = saved[2];
    const at::Tensor grad = grads[0].contiguous();
    const auto flag = [&](const char* name) { return ctx->saved_data[name].toBool(); };
    at::Tensor grad_x, grad_low, grad_weight, grad_bias, grad_a, grad_b;
    if (flag("x")) grad_x = at::mm(grad, compute);
    if (flag("weight")) grad_weight = at::mm(grad.t(), x).to(at::kFloat);
    if (flag("bias")) grad_bias = grad.sum(0, false, at::kFloat);
    if (saved[3].defined()) {
      const at::Tensor grad_inner = adapter_backward(ctx, grad, saved[4], saved[5], grad_b);
      if (flag("adapter")) grad_a = at::mm(grad_inner.t(), low).to(at::kFloat);
      if (flag("shared") && flag("x")) {
        grad_x.addmm_(grad_inner, saved[3]);
      } else if (flag("low") && !flag("shared")) {
        grad_low = at::mm(grad_inner, saved[3]);
      }
    }
    return {grad_x, grad_low, grad_weight, {}, grad_bias, grad_a, grad_b, {}};
  }

  // Gradient of the adapter's inner activation; fills the one of B.
  static at::Tensor adapter_backward(AutogradContext* ctx, const at::Tensor& grad,
                                     const at::Tensor& b, const at::Tensor& inner,
                                     at::Tensor& grad_b) {
    const auto holder =
        c10::static_intrusive_pointer_cast<PartsHolder>(ctx->saved_data["parts"].toCapsule());
    const std::int64_t rank = b.size(1);
    at::Tensor grad_inner = at::empty_like(inner);
    std::vector<at::Tensor> rows;
    std::int64_t row = 0;
    for (std::size_t i = 0; i < holder->adapted.size(); ++i) {
      const LinearPart& part = holder->adapted[i];
      const std::int64_t column = static_cast<std::int64_t>(i) * rank;
      const at::Tensor part_grad = grad.slice(1, part.row, part.row + part.rows);
      grad_inner.slice(1, column, column + rank)
          .copy_(at::mm(part_grad, b.slice(0, row, row + part.rows)).mul_(part.scale));
      rows.push_back(at::mm(part_grad.t(), inner.slice(1, column, column + rank))
                         .to(at::kFloat)
                         .mul_(part.scale));
      row += part.rows;
    }
    grad_b = at::cat(rows, 0);
    return grad_inner;
  }
};

// Every device has its own generator; the same seed draws other numbers on another device.
at::Generator generator_on(at::Device device, std::uint64_t seed) {
  if (device.is_cpu()) return at::make_generator<at::CPUGeneratorImpl>(seed);
  at::Generator generator = at::globalContext()
                                .getAcceleratorHooksInterface(device.type())
                                .getNewGenerator(device.index());
  generator.set_current_seed(seed);
  return generator;
}

at::Tensor dropout(const at::Tensor& x, double probability, std::uint64_t seed) {
  const at::Tensor keep = at::empty(x.sizes(), x.options().dtype(at::kFloat))
                              .bernoulli_(1.0 - probability, generator_on(x.device(), seed));
  return x * (keep / (1.0 - probability)).to(x.scalar_type());
}

// Without gradients: nothing is kept and no autograd function is entered, whose cost would show in
// every step of decoding.
at::Tensor infer_linear(const Linear& layer, const at::Tensor& x, bool use_adapter) {
  const at::Tensor y = base_product(x, layer.compute, layer.bias);
  if (!use_adapter || layer.adapter.rank == 0) return y;
  const auto type = x.scalar_type();
  const at::Tensor inner = at::mm(x, layer.adapter.a.to(type).t());
  add_parts(y, inner, layer.adapter.b.to(type), adapted_parts(layer));
  return y;
}

}  // namespace

at::Tensor row_product(const at::Tensor& x, const at::Tensor& w) {
  at::NoGradGuard no_grad;
  return base_product(x, w, {});
}

at::Tensor apply_linear(const Linear& layer, const at::Tensor& x, bool use_adapter,
                        std::uint64_t dropout_seed) {
  if (!at::GradMode::is_enabled()) return infer_linear(layer, x, use_adapter);
  std::vector<LinearPart> adapted;
  at::Tensor a, b, low;
  if (use_adapter && layer.adapter.rank > 0) {
    adapted = adapted_parts(layer);
    a = layer.adapter.a;
    b = layer.adapter.b;
    low = layer.adapter.dropout > 0.0 ? dropout(x, layer.adapter.dropout, dropout_seed) : x;
  }
  return AdaptedLinear::apply(x, maybe(low), maybe(layer.weight), layer.compute, maybe(layer.bias),
                              maybe(a), maybe(b), adapted);
}

}  // namespace limbic::model
