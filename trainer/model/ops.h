// The differentiable building blocks of the decoder. On a CPU they run the fused kernels of
// trainer/tensor/kernels with hand-written gradients; on other devices, and as the tests' second
// implementation, the plain ATen formulas of `reference_ops.h`.
//
// "compute" is the activation type (float32 or bfloat16); the residual stream, norm weights and
// every gradient that reaches a weight are float32. Pure: no I/O, no collectives.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace limbic::model {

struct ResidualNorm {
  at::Tensor residual;  // [tokens, hidden] float32
  at::Tensor normed;    // [tokens, hidden] compute
};
// residual + delta, and its RMS norm times `weight`. `delta` [tokens, hidden] compute, may be
// undefined.
ResidualNorm add_rms_norm(const at::Tensor& residual, const at::Tensor& delta,
                          const at::Tensor& weight, double eps, at::ScalarType compute);

// silu(gate) * up of gate_up [tokens, 2 * inner] -> [tokens, inner].
at::Tensor swiglu(const at::Tensor& gate_up);

// What attention needs to know about a batch and the model; shared by all layers.
struct AttentionPlan {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  double eps = 0.0;
  at::Tensor cos;                     // [max positions, head_dim / 2] float32
  at::Tensor sin;                     // [max positions, head_dim / 2] float32
  at::Tensor positions;               // [tokens] int32
  std::vector<std::int64_t> offsets;  // [sequences + 1] first token of each sequence
  // [families + 1] first sequence of each family: a sequence and those behind it that continue it.
  // Empty: every sequence is a family of its own.
  std::vector<std::int64_t> families = {};
};
// `families`, or one per sequence when it is empty.
std::vector<std::int64_t> families_or_single(const std::vector<std::int64_t>& families,
                                             std::size_t sequences);

// Where prefill leaves the rotated keys and the values of one layer; null while training.
struct KeyValueTap {
  at::Tensor keys;    // [tokens, kv_heads, head_dim]
  at::Tensor values;  // [tokens, kv_heads, head_dim]
};

// Causal grouped-query attention inside each sequence of a packed batch.
// qkv [tokens, (heads + 2 kv_heads) * head_dim]; q_norm, k_norm [head_dim] or undefined.
// Returns [tokens, heads * head_dim].
at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& q_norm,
                            const at::Tensor& k_norm, const AttentionPlan& plan, KeyValueTap* tap);

struct TokenScores {
  at::Tensor logprobs;       // [rows] float32, differentiable
  at::Tensor entropy;        // [rows] float32, differentiable when asked for
  at::Tensor argmax;         // [rows] int32
  at::Tensor mean_logprobs;  // [rows] float32, differentiable; undefined unless asked for
};
// What a loss needs besides the targets' log-probabilities; each costs a pass over the logits.
struct ScoreOptions {
  bool entropy_gradient = false;
  bool mean_logprobs = false;  // mean over the vocabulary: what label smoothing pulls towards
};
// Log-probability of `targets` [rows] int32 under softmax(hidden head^T) with `head` [vocabulary,
// hidden] in the compute type. Works in chunks: at most `kLogitBudgetBytes` of logits are kept for
// backward, beyond that they are computed again. `trained_head` is the float32 leaf behind `head`
// (undefined when frozen).
TokenScores token_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& trained_head, const at::Tensor& targets,
                           const ScoreOptions& options = {});

inline constexpr std::int64_t kLogitBudgetBytes = std::int64_t{1} << 30;

}  // namespace limbic::model
