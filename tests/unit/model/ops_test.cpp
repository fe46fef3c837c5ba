// The fused operations against the plain formulas, values and gradients.
#include "trainer/model/ops.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "trainer/model/reference_ops.h"

namespace limbic::model {
namespace {

using Tensors = std::vector<at::Tensor>;
using Operation = std::function<Tensors(const Tensors&)>;

class Normal {
 public:
  explicit Normal(std::uint64_t seed)
      : generator_(at::make_generator<at::CPUGeneratorImpl>(seed)) {}
  at::Tensor operator()(at::IntArrayRef shape, at::ScalarType type = at::kFloat) {
    return at::empty(shape, at::TensorOptions().dtype(at::kFloat))
        .normal_(0.0, 1.0, generator_)
        .to(type);
  }

 private:
  at::Generator generator_;
};

// Outputs of the operation, then the gradients of a weighted sum of its float outputs.
Tensors run(const Operation& operation, const Tensors& inputs, std::uint64_t seed) {
  Tensors leaves;
  for (const at::Tensor& input : inputs) leaves.push_back(input.clone().requires_grad_());
  Tensors out = operation(leaves);
  Normal normal(seed);
  at::Tensor loss = at::zeros({});
  for (const at::Tensor& item : out) {
    if (!item.requires_grad()) continue;
    loss = loss + (item.to(at::kFloat) * normal(item.sizes())).sum();
  }
  loss.backward();
  for (at::Tensor& item : out) item = item.detach();
  for (const at::Tensor& leaf : leaves) {
    EXPECT_TRUE(leaf.grad().defined()) << "no gradient for an input of " << leaf.sizes();
    EXPECT_EQ(leaf.grad().scalar_type(), leaf.scalar_type());
    out.push_back(leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf));
  }
  return out;
}

// Largest difference relative to the size of what is compared.
double distance(const at::Tensor& got, const at::Tensor& want) {
  EXPECT_EQ(got.sizes(), want.sizes());
  EXPECT_EQ(got.scalar_type(), want.scalar_type());
  const at::Tensor a = got.to(at::kDouble);
  const at::Tensor b = want.to(at::kDouble);
  return ((a - b).abs().max() / b.abs().max().clamp_min(1e-12)).item<double>();
}

void expect_same(const Operation& fused, const Operation& plain, const Tensors& inputs,
                 double tolerance) {
  const Tensors got = run(fused, inputs, 77);
  const Tensors want = run(plain, inputs, 77);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_LT(distance(got[i], want[i]), tolerance) << "result " << i;
  }
}

double tolerance_of(at::ScalarType type) { return type == at::kFloat ? 5e-6 : 3e-2; }

class Ops : public ::testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(Types, Ops, ::testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& type) { return std::string(c10::toString(type.param)); });

TEST_P(Ops, AddRmsNorm) {
  Normal normal(1);
  for (const auto& [rows, width] : {std::pair(1, 8), std::pair(7, 37), std::pair(600, 19)}) {
    const Tensors inputs = {normal({rows, width}), normal({rows, width}, GetParam()),
                            normal({width})};
    const auto call = [&](auto norm) {
      return [&, norm](const Tensors& x) {
        const ResidualNorm out = norm(x[0], x[1], x[2], 1e-5, GetParam());
        return Tensors{out.residual, out.normed};
      };
    };
    expect_same(call(add_rms_norm), call(reference::add_rms_norm), inputs,
                tolerance_of(GetParam()));
  }
}

TEST_P(Ops, AddRmsNormWithoutDelta) {
  Normal normal(2);
  const Tensors inputs = {normal({9, 33}), normal({33})};
  const auto call = [&](auto norm) {
    return [&, norm](const Tensors& x) {
      const ResidualNorm out = norm(x[0], at::Tensor(), x[1], 1e-5, GetParam());
      return Tensors{out.residual, out.normed};
    };
  };
  expect_same(call(add_rms_norm), call(reference::add_rms_norm), inputs, tolerance_of(GetParam()));
}

// Only one of the two outputs reaches the loss.
TEST_P(Ops, AddRmsNormPassesTheGradientOfEitherOutput) {
  Normal normal(3);
  const Tensors inputs = {normal({5, 12}), normal({5, 12}, GetParam())};
  const at::Tensor weight = normal({12});
  for (const bool residual : {false, true}) {
    const auto call = [&](auto norm) {
      return [&, norm](const Tensors& x) {
        const ResidualNorm out = norm(x[0], x[1], weight, 1e-5, GetParam());
        return Tensors{residual ? out.residual : out.normed};
      };
    };
    expect_same(call(add_rms_norm), call(reference::add_rms_norm), inputs,
                tolerance_of(GetParam()));
  }
}

TEST_P(Ops, GatedActivations) {
  Normal normal(4);
  for (const auto& [rows, inner] : {std::pair(1, 4), std::pair(300, 21)}) {
    const auto call = [](auto gate) {
      return [gate](const Tensors& x) { return Tensors{gate(x[0])}; };
    };
    const Tensors inputs = {normal({rows, 2 * inner}, GetParam())};
    expect_same(call(swiglu), call(reference::swiglu), inputs, tolerance_of(GetParam()));
    expect_same(call(geglu), call(reference::geglu), inputs, tolerance_of(GetParam()));
  }
}

TEST(OpsFloat, GatedActivationsStayFiniteFarOut) {
  for (const auto gate : {swiglu, geglu}) {
    const at::Tensor x = at::tensor({-200.0f, 200.0f, -90.0f, 1.0f, 1.0f, 1.0f})
                             .view({1, 6})
                             .clone()
                             .requires_grad_();
    const at::Tensor out = gate(x);
    EXPECT_TRUE(at::allclose(out, at::tensor({0.0f, 200.0f, 0.0f}).view({1, 3})));
    out.sum().backward();
    EXPECT_TRUE(at::isfinite(x.grad()).all().item<bool>());
  }
}

AttentionPlan plan_of(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                      std::vector<std::int64_t> lengths) {
  AttentionPlan plan;
  plan.heads = heads;
  plan.kv_heads = kv_heads;
  plan.head_dim = head_dim;
  plan.eps = 1e-5;
  plan.scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  std::vector<std::int32_t> positions;
  plan.offsets.push_back(0);
  for (const std::int64_t length : lengths) {
    for (std::int64_t i = 0; i < length; ++i) positions.push_back(static_cast<std::int32_t>(i));
    plan.offsets.push_back(static_cast<std::int64_t>(positions.size()));
  }
  plan.positions = at::tensor(positions, at::TensorOptions().dtype(at::kInt));
  const at::Tensor angles = at::arange(64, at::kFloat).unsqueeze(1) *
                            at::pow(100.0, -at::arange(head_dim / 2, at::kFloat) / head_dim);
  plan.cos = angles.cos().contiguous();
  plan.sin = angles.sin().contiguous();
  return plan;
}

TEST_P(Ops, PackedAttentionOverSegmentsAndGroups) {
  Normal normal(5);
  struct Shape {
    std::int64_t heads, kv_heads, head_dim;
    std::vector<std::int64_t> lengths;
  };
  for (const Shape& shape : {Shape{1, 1, 2, {3}}, Shape{4, 4, 8, {5, 1, 7}},
                             Shape{6, 2, 10, {1, 40, 3, 2}}, Shape{5, 1, 16, {33, 9}}}) {
    const AttentionPlan plan = plan_of(shape.heads, shape.kv_heads, shape.head_dim, shape.lengths);
    const std::int64_t width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
    const at::Tensor qkv = normal({plan.offsets.back(), width}, GetParam());
    const auto plain = [&](auto attention) {
      return [&, attention](const Tensors& x) {
        return Tensors{attention(x[0], at::Tensor(), at::Tensor(), plan, nullptr)};
      };
    };
    expect_same(plain(packed_attention), plain(reference::packed_attention), {qkv},
                tolerance_of(GetParam()));
    const auto normed = [&](auto attention) {
      return [&, attention](const Tensors& x) {
        return Tensors{attention(x[0], x[1], x[2], plan, nullptr)};
      };
    };
    expect_same(normed(packed_attention), normed(reference::packed_attention),
                {qkv, normal({shape.head_dim}), normal({shape.head_dim})},
                2 * tolerance_of(GetParam()));
  }
}

// Sequences that continue another, beside sequences of their own.
TEST_P(Ops, PackedAttentionOverFamilies) {
  Normal normal(8);
  AttentionPlan plan = plan_of(6, 2, 10, {30, 3, 1, 27, 4, 5, 2});
  plan.families = {0, 4, 5, 7};  // 30 <- 3, 1, 27; 4; 5 <- 2
  std::vector<std::int32_t> positions;
  for (const auto& [from, count] :
       {std::pair(0, 30), std::pair(30, 3), std::pair(30, 1), std::pair(30, 27), std::pair(0, 4),
        std::pair(0, 5), std::pair(5, 2)}) {
    for (int i = 0; i < count; ++i) positions.push_back(from + i);
  }
  plan.positions = at::tensor(positions, at::TensorOptions().dtype(at::kInt));
  const auto call = [&](auto attention) {
    return [&, attention](const Tensors& x) {
      return Tensors{attention(x[0], x[1], x[2], plan, nullptr)};
    };
  };
  expect_same(call(packed_attention), call(reference::packed_attention),
              {normal({plan.offsets.back(), 100}, GetParam()), normal({10}), normal({10})},
              2 * tolerance_of(GetParam()));
}

// Windows that end inside a register, a block of queries, the first sequence and a continuation;
// heads that are rotated in part; scores that are capped hard.
TEST_P(Ops, PackedAttentionWithWindowsCapsAndPartialRotation) {
  Normal normal(9);
  const at::Tensor qkv = normal({91, 100}, GetParam());
  const at::Tensor weight = normal({10});
  for (const std::int64_t window : {2, 5, 16, 37, 90}) {
    for (const double softcap : {0.0, 0.7}) {
      AttentionPlan plan = plan_of(6, 2, 10, {70, 3, 18});
      plan.families = {0, 3};
      for (std::int64_t i = 70; i < 91; ++i) {
        plan.positions[i] = static_cast<std::int32_t>(i < 73 ? i : i - 3);
      }
      plan.cos = plan.cos.repeat({2, 1}).slice(1, 0, 3).contiguous();
      plan.sin = plan.sin.repeat({2, 1}).slice(1, 0, 3).contiguous();
      plan.window = window;
      plan.softcap = softcap;
      const auto call = [&](auto attention) {
        return [&, attention](const Tensors& x) {
          return Tensors{attention(x[0], x[1], x[1], plan, nullptr)};
        };
      };
      SCOPED_TRACE(::testing::Message() << "window " << window << " cap " << softcap);
      expect_same(call(packed_attention), call(reference::packed_attention), {qkv, weight},
                  2 * tolerance_of(GetParam()));
    }
  }
}

// Sequences beyond the limit of our kernel, with and without what only it can do.
TEST(OpsFloat, LongSequencesTakeTheSameScaleWindowAndCap) {
  Normal normal(10);
  const at::Tensor qkv = normal({400, 16});
  AttentionPlan plan = plan_of(2, 1, 4, {400});
  plan.cos = plan.cos.repeat({7, 1}).contiguous();
  plan.sin = plan.sin.repeat({7, 1}).contiguous();
  plan.scale = 0.3;
  const auto call = [&](auto attention) {
    return [&, attention](const Tensors& x) {
      return Tensors{attention(x[0], {}, {}, plan, nullptr)};
    };
  };
  for (const std::int64_t window : {0, 50, 1000}) {
    plan.window = window;
    plan.softcap = window == 50 ? 2.0 : 0.0;
    expect_same(call(packed_attention), call(reference::packed_attention), {qkv}, 2e-5);
  }
}

TEST_P(Ops, PackedAttentionTapsRotatedKeysAndValues) {
  Normal normal(6);
  const AttentionPlan plan = plan_of(6, 2, 10, {5, 8});
  const at::Tensor qkv = normal({13, 100}, GetParam());
  const at::Tensor q_norm = normal({10});
  const at::Tensor k_norm = normal({10});
  KeyValueTap got, want;
  packed_attention(qkv, q_norm, k_norm, plan, &got);
  reference::packed_attention(qkv, q_norm, k_norm, plan, &want);
  EXPECT_LT(distance(got.keys, want.keys), tolerance_of(GetParam()));
  EXPECT_TRUE(at::equal(got.values, want.values));
}

TEST(OpsFloat, SequencesOfABatchDoNotSeeEachOther) {
  Normal normal(7);
  const AttentionPlan both = plan_of(4, 2, 6, {9, 5});
  at::Tensor qkv = normal({14, 48});
  const at::Tensor before = packed_attention(qkv, {}, {}, both, nullptr);
  qkv.slice(0, 0, 9).mul_(-3.0);
  const at::Tensor after = packed_attention(qkv, {}, {}, both, nullptr);
  EXPECT_TRUE(at::equal(before.slice(0, 9), after.slice(0, 9)));
  const AttentionPlan alone = plan_of(4, 2, 6, {5});
  EXPECT_LT(distance(packed_attention(qkv.slice(0, 9).contiguous(), {}, {}, alone, nullptr),
                     after.slice(0, 9)),
            1e-6);
}

TEST(OpsFloat, TokensDoNotSeeTheirFuture) {
  Normal normal(8);
  const AttentionPlan plan = plan_of(2, 1, 4, {6});
  at::Tensor qkv = normal({6, 16});
  const at::Tensor before = packed_attention(qkv, {}, {}, plan, nullptr);
  qkv[5].add_(2.0);
  const at::Tensor after = packed_attention(qkv, {}, {}, plan, nullptr);
  EXPECT_TRUE(at::equal(before.slice(0, 0, 5), after.slice(0, 0, 5)));
  EXPECT_FALSE(at::equal(before[5], after[5]));
}

// By ATen's own gradients.
TokenScores plain_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& targets, const ScoreOptions& wanted = {},
                           double softcap = 0.0) {
  const at::Tensor logits = at::matmul(hidden, head.t()).to(at::kFloat);
  const at::Tensor all =
      at::log_softmax(softcap > 0.0 ? (logits / softcap).tanh() * softcap : logits, -1);
  const at::Tensor seen = wanted.entropy_gradient ? all : all.detach();
  return {all.gather(1, targets.to(at::kLong).unsqueeze(1)).squeeze(1),
          -(seen.exp() * seen).sum(-1), all.argmax(-1).to(at::kInt),
          wanted.mean_logprobs ? all.mean(-1) : at::Tensor()};
}

TEST(OpsFloat, TokenLogprobs) {
  Normal normal(9);
  const at::Tensor targets =
      at::tensor({0, 96, 3, 50, 50, 7, 1}, at::TensorOptions().dtype(at::kInt));
  const Tensors inputs = {normal({7, 13}), normal({97, 13})};
  const auto pick = [](const TokenScores& scores) {
    EXPECT_FALSE(scores.entropy.requires_grad());
    return Tensors{scores.logprobs, scores.entropy, scores.argmax};
  };
  expect_same(
      [&](const Tensors& x) { return pick(token_logprobs(x[0], x[1].detach(), x[1], targets)); },
      [&](const Tensors& x) { return pick(plain_logprobs(x[0], x[1], targets)); }, inputs, 5e-6);
  expect_same(
      [&](const Tensors& x) {
        return pick(reference::token_logprobs(x[0], x[1].detach(), x[1], targets));
      },
      [&](const Tensors& x) { return pick(plain_logprobs(x[0], x[1], targets)); }, inputs, 5e-6);
}

TEST(OpsFloat, TokenLogprobsOfCappedLogits) {
  Normal normal(13);
  const at::Tensor targets = at::tensor({0, 96, 3}, at::TensorOptions().dtype(at::kInt));
  const Tensors inputs = {normal({3, 13}), normal({97, 13})};
  for (const auto& scores_of : {token_logprobs, reference::token_logprobs}) {
    expect_same(
        [&](const Tensors& x) {
          const TokenScores scores = scores_of(x[0], x[1].detach(), x[1], targets, {}, 2.5);
          return Tensors{scores.logprobs, scores.entropy};
        },
        [&](const Tensors& x) {
          const TokenScores scores = plain_logprobs(x[0], x[1], targets, {}, 2.5);
          return Tensors{scores.logprobs, scores.entropy};
        },
        inputs, 5e-6);
  }
}

// Entropies and means over the vocabulary with their gradients, alone and beside the targets'.
TEST(OpsFloat, ShapesOfTheDistribution) {
  Normal normal(13);
  const at::Tensor targets = at::tensor({0, 96, 3, 50, 7}, at::TensorOptions().dtype(at::kInt));
  const Tensors inputs = {normal({5, 13}), normal({97, 13})};
  const ScoreOptions wanted{.entropy_gradient = true, .mean_logprobs = true};
  const auto everything = [](const TokenScores& scores) {
    return Tensors{scores.logprobs, scores.entropy, scores.mean_logprobs};
  };
  const auto entropy = [](const TokenScores& scores) { return Tensors{scores.entropy}; };
  for (const auto& scores_of : {token_logprobs, reference::token_logprobs}) {
    for (const double softcap : {0.0, 2.5}) {
      const auto got = [&](const Tensors& x) {
        return scores_of(x[0], x[1].detach(), x[1], targets, wanted, softcap);
      };
      const auto want = [&](const Tensors& x) {
        return plain_logprobs(x[0], x[1], targets, wanted, softcap);
      };
      expect_same([&](const Tensors& x) { return everything(got(x)); },
                  [&](const Tensors& x) { return everything(want(x)); }, inputs, 5e-6);
      expect_same([&](const Tensors& x) { return entropy(got(x)); },
                  [&](const Tensors& x) { return entropy(want(x)); }, inputs, 5e-6);
    }
    EXPECT_FALSE(scores_of(inputs[0], inputs[1], {}, targets, {}, 0.0).mean_logprobs.defined());
  }
}

TEST(OpsFloat, TokenLogprobsWithAFrozenHead) {
  Normal normal(10);
  const at::Tensor targets = at::tensor({5, 0, 40}, at::TensorOptions().dtype(at::kInt));
  const at::Tensor head = normal({41, 6});
  expect_same(
      [&](const Tensors& x) {
        return Tensors{token_logprobs(x[0], head, at::Tensor(), targets).logprobs};
      },
      [&](const Tensors& x) {
        return Tensors{reference::token_logprobs(x[0], head, at::Tensor(), targets).logprobs};
      },
      {normal({3, 6})}, 5e-6);
}

// Beyond 64 MiB of logits the rows are worked off in chunks of at least 16, which must not show.
TEST(OpsFloat, TokenLogprobsInChunks) {
  Normal normal(11);
  const at::Tensor head = normal({1'060'000, 2});
  const at::Tensor targets =
      at::arange(17, at::TensorOptions().dtype(at::kInt)) * static_cast<std::int64_t>(60'000);
  const auto part = [&](const at::Tensor& x, std::int64_t from, std::int64_t to) {
    return token_logprobs(x.slice(0, from, to), head, at::Tensor(), targets.slice(0, from, to))
        .logprobs;
  };
  expect_same([&](const Tensors& x) { return Tensors{part(x[0], 0, 17)}; },
              [&](const Tensors& x) {
                return Tensors{at::cat({part(x[0], 0, 9), part(x[0], 9, 17)})};
              },
              {normal({17, 2})}, 1e-4);
}

TEST(OpsFloat, TokenLogprobsByChunks) {
  Normal normal(13);
  const at::Tensor targets = at::arange(23, at::TensorOptions().dtype(at::kInt));
  const auto by = [&](double softcap, std::int64_t rows) {
    return [&, softcap, rows](const Tensors& x) {
      const TokenScores scores = reference::token_logprobs_by_chunks(x[0], x[1].detach(), x[1],
                                                                     targets, {}, softcap, rows);
      return Tensors{scores.logprobs, scores.entropy, scores.argmax};
    };
  };
  const Tensors inputs = {normal({23, 6}), normal({31, 6})};
  for (const double softcap : {0.0, 1.5})
    expect_same(by(softcap, 5), by(softcap, 23), inputs, 5e-6);
}

TEST(OpsBfloat16, TokenLogprobs) {
  Normal normal(12);
  const at::Tensor targets = at::tensor({5, 0, 40, 3}, at::TensorOptions().dtype(at::kInt));
  const at::Tensor leaf = normal({41, 16});
  const auto fused = [&](const Tensors& x) {
    return Tensors{token_logprobs(x[0], x[1].detach().to(at::kBFloat16), x[1], targets).logprobs};
  };
  const auto plain = [&](const Tensors& x) {
    return Tensors{plain_logprobs(x[0], x[1].to(at::kBFloat16), targets).logprobs};
  };
  expect_same(fused, plain, {normal({4, 16}, at::kBFloat16), leaf}, 4e-2);
}

TEST(OpsFloat, NoRowsGiveNoScores) {
  const at::Tensor none = at::empty({0}, at::TensorOptions().dtype(at::kInt));
  for (const auto& scores_of : {token_logprobs, reference::token_logprobs}) {
    const at::Tensor hidden = at::empty({0, 4}).requires_grad_();
    const TokenScores scores = scores_of(hidden, at::ones({9, 4}), at::Tensor(), none, {}, 0.0);
    EXPECT_EQ(scores.logprobs.numel(), 0);
    scores.logprobs.sum().backward();
    EXPECT_EQ(hidden.grad().numel(), 0);
  }
}

}  // namespace
}  // namespace limbic::model
