// Fused linear layers with adapters against the formula, by ATen's own gradients.
#include "trainer/model/linear.h"

#include <gtest/gtest.h>

namespace limbic::model {
namespace {

at::Tensor wave(at::IntArrayRef shape, double phase) {
  return (at::arange(c10::multiply_integers(shape), at::kFloat) * 0.61 + phase).sin().view(shape);
}

// Three parts of 4, 2 and 3 rows; the first and the last have an adapter of rank 2.
Linear fused(bool trained) {
  Linear linear;
  linear.parts = {{"q", 0, 4, 2, 1.5}, {"k", 4, 2, 0, 0.0}, {"v", 6, 3, 2, 0.25}};
  linear.compute = wave({9, 5}, 0.1);
  if (trained) {
    linear.weight = linear.compute.clone().requires_grad_();
    linear.compute = linear.weight.detach();
  }
  linear.bias = wave({9}, 0.2).requires_grad_(trained);
  linear.adapter = {.rank = 2,
                    .dropout = 0.0,
                    .a = wave({4, 5}, 0.3).requires_grad_(),
                    .b = wave({7, 2}, 0.4).requires_grad_()};
  return linear;
}

at::Tensor formula(const Linear& linear, const at::Tensor& x, const at::Tensor& low) {
  const Adapter& adapter = linear.adapter;
  const at::Tensor weight = linear.weight.defined() ? linear.weight : linear.compute;
  const auto update = [&](std::int64_t part, std::int64_t row, std::int64_t rows) {
    const at::Tensor inner = at::mm(low, adapter.a.slice(0, 2 * part, 2 * part + 2).t());
    return at::mm(inner, adapter.b.slice(0, row, row + rows).t()) *
           linear.parts[part == 0 ? 0 : 2].scale;
  };
  const at::Tensor added =
      at::cat({update(0, 0, 4), at::zeros({x.size(0), 2}), update(1, 4, 3)}, 1);
  return at::mm(x, weight.t()) + linear.bias + added;
}

void expect_near(const at::Tensor& got, const at::Tensor& want) {
  ASSERT_TRUE(got.defined() && want.defined());
  EXPECT_TRUE(at::allclose(got, want, 1e-5, 1e-5)) << got - want;
}

TEST(ApplyLinear, ValuesAndGradientsAreThoseOfTheFormula) {
  for (const bool trained : {false, true}) {
    for (const bool input_trained : {false, true}) {
      const Linear got = fused(trained), want = fused(trained);
      const at::Tensor x = wave({6, 5}, 0.5).requires_grad_(input_trained);
      const at::Tensor y = wave({6, 5}, 0.5).requires_grad_(input_trained);
      const at::Tensor out = apply_linear(got, x, true, 0);
      const at::Tensor expected = formula(want, y, y);
      expect_near(out, expected);
      const at::Tensor weights = wave({6, 9}, 0.6);
      (out * weights).sum().backward();
      (expected * weights).sum().backward();
      expect_near(got.adapter.a.grad(), want.adapter.a.grad());
      expect_near(got.adapter.b.grad(), want.adapter.b.grad());
      if (input_trained) expect_near(x.grad(), y.grad());
      if (trained) {
        expect_near(got.weight.grad(), want.weight.grad());
        expect_near(got.bias.grad(), want.bias.grad());
      }
    }
  }
}

TEST(ApplyLinear, SwitchedOffAdapterIsTheBase) {
  const Linear linear = fused(false);
  const at::Tensor x = wave({3, 5}, 0.5);
  const at::Tensor base = at::addmm(linear.bias, x, linear.compute.t());
  EXPECT_TRUE(at::equal(apply_linear(linear, x, false, 0), base));
  EXPECT_FALSE(at::allclose(apply_linear(linear, x, true, 0), base));
}

TEST(ApplyLinear, DropoutIsAFunctionOfItsSeedAndOffWithoutGradients) {
  Linear linear = fused(false);
  const at::Tensor x = wave({40, 5}, 0.5);
  const at::Tensor plain = apply_linear(linear, x, true, 1);
  linear.adapter.dropout = 0.5;
  const at::Tensor one = apply_linear(linear, x, true, 1);
  EXPECT_TRUE(at::equal(one, apply_linear(linear, x, true, 1)));
  EXPECT_FALSE(at::equal(one, apply_linear(linear, x, true, 2)));
  EXPECT_FALSE(at::equal(one, plain));
  EXPECT_TRUE(at::equal(one.slice(1, 4, 6), plain.slice(1, 4, 6)));  // the part without adapter
  at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(apply_linear(linear, x, true, 1), plain));
}

TEST(ApplyLinear, DropoutKeepsTheMeanAndItsGradientFollowsTheMask) {
  Linear linear = fused(false);
  linear.adapter.dropout = 0.25;
  const at::Tensor x = at::ones({4000, 5}).requires_grad_();
  const at::Tensor out = apply_linear(linear, x, true, 9);
  linear.adapter.dropout = 0.0;
  const at::Tensor want = apply_linear(linear, at::ones({1, 5}), true, 9);
  EXPECT_TRUE(at::allclose(out.mean(0), want[0], 0.0, 0.05));
  out.sum().backward();
  // Linear in x: the gradient must reproduce the output.
  const at::Tensor bias = linear.bias.sum() * 4000;
  EXPECT_NEAR((x.grad() * x.detach()).sum().item<double>(), (out.sum() - bias).item<double>(),
              0.02 * out.numel());
  EXPECT_NEAR((x.grad() * x.detach()).sum().item<double>(),
              (out.detach().to(at::kDouble).sum() - bias.to(at::kDouble)).item<double>(), 1.0);
}

// Decoding takes its own way without gradients, and a kernel of its own for a few rows.
TEST(ApplyLinear, WithoutGradientsTheValuesAreTheSame) {
  for (const std::int64_t rows : {1, 6, 16, 70}) {
    Linear linear;
    linear.parts = {{"q", 0, 512, 2, 1.5}};
    linear.compute = wave({512, 520}, 0.1);
    linear.bias = wave({512}, 0.2);
    linear.adapter = {
        .rank = 2, .dropout = 0.25, .a = wave({2, 520}, 0.3), .b = wave({512, 2}, 0.4)};
    const at::Tensor x = wave({rows, 520}, 0.5);
    const at::NoGradGuard no_grad;
    const at::Tensor base = at::mm(x, linear.compute.t()) + linear.bias;
    const at::Tensor low = at::mm(at::mm(x, linear.adapter.a.t()), linear.adapter.b.t());
    EXPECT_TRUE(at::allclose(apply_linear(linear, x, false, 3), base, 1e-4, 1e-4)) << rows;
    EXPECT_TRUE(at::allclose(apply_linear(linear, x, true, 3), base + low * 1.5, 1e-4, 1e-4))
        << rows;
    EXPECT_TRUE(at::allclose(row_product(x, linear.compute), base - linear.bias, 1e-4, 1e-4));
  }
}

TEST(ApplyLinear, Bfloat16StaysNearFloat32) {
  const Linear wide = fused(false);
  Linear narrow = fused(false);
  narrow.compute = narrow.compute.to(at::kBFloat16);
  const at::Tensor x = wave({6, 5}, 0.5);
  const at::Tensor out = apply_linear(narrow, x.to(at::kBFloat16), true, 0);
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::allclose(out.to(at::kFloat), apply_linear(wide, x, true, 0), 2e-2, 5e-2));
  out.sum().backward();
  EXPECT_EQ(narrow.adapter.a.grad().scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace limbic::model
