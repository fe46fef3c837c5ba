// The differentiable building blocks of the decoder: here over the fused kernels of
// trainer/tensor/kernels with hand-written gradients, on a CPU; in `reference_ops.h` as plain ATen
// formulas, which run on every device and are the tests' second implementation. `operations` gives
// either.
//
// "compute" is the activation type (float32 or bfloat16); the residual stream, norm weights and
// every gradient that reaches a weight are float32. Pure: no I/O, no collectives.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "trainer/tensor/math.h"

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
// The same with gelu(gate) in its tanh approximation.
at::Tensor geglu(const at::Tensor& gate_up);

struct PaddedRows;  // trainer/model/aten/padded_rows.h

// What attention needs to know about a batch and a layer.
struct AttentionPlan {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  double eps = 0.0;
  double scale = 0.0;       // of the scores
  double softcap = 0.0;     // scores := cap tanh(scores / cap); 0 = none
  std::int64_t window = 0;  // a token sees so many tokens, itself the last; 0 = all before it
  // The first 2 * columns dimensions of a head are rotated.
  at::Tensor cos;                     // [rows, columns] float32
  at::Tensor sin;                     // [rows, columns] float32
  at::Tensor positions;               // [tokens] int32 row of each token
  std::vector<std::int64_t> offsets;  // [sequences + 1] first token of each sequence
  // [families + 1] first sequence of each family: a sequence and those behind it that continue it.
  // Empty: every sequence is a family of its own.
  std::vector<std::int64_t> families = {};
  // The batch as the ATen formula wants it; null = made when it is needed, for each layer again.
  std::shared_ptr<const PaddedRows> rows = {};
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
// (undefined when frozen). `softcap`: logits := cap tanh(logits / cap); 0 = none.
TokenScores token_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& trained_head, const at::Tensor& targets,
                           const ScoreOptions& wanted = {}, double softcap = 0.0);

inline constexpr std::int64_t kLogitBudgetBytes = std::int64_t{1} << 30;

// The building blocks of one implementation; contracts as above.
struct Operations {
  decltype(&model::add_rms_norm) add_rms_norm;
  decltype(&model::swiglu) swiglu;
  decltype(&model::geglu) geglu;
  decltype(&model::packed_attention) packed_attention;
  decltype(&model::token_logprobs) token_logprobs;
};
const Operations& operations(Math math);

}  // namespace limbic::model
