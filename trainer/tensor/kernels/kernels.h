// The inner loops of limbic on a CPU: plain functions over rows of raw memory, compiled once per
// instruction set (baseline x86-64, AVX2, AVX-512) from one source and chosen at start-up.
//
// Every function works on rows [begin, end), so the caller decides how rows are split over threads;
// results do not depend on that split. "x" types: activations are float or bfloat16 (`Bf16`), all
// arithmetic and all reductions are float. Large matrix products are not here: ATen does them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace limbic::kernels {

struct Bf16 {
  std::uint16_t bits;
};

// How the heads of one projection lie in a row of the fused q|k|v product, and how they are
// rotated.
struct HeadLayout {
  std::int64_t row_stride;   // elements between two tokens of the fused product
  std::int64_t heads;        // heads of this projection
  std::int64_t head_dim;     // even
  std::int64_t rotated;      // leading dimensions of a head that are rotated, even
  const float* norm_weight;  // [head_dim] per-head RMS norm (Qwen3), or null
  float eps;
  const float* cos;               // [rows, rotated / 2]
  const float* sin;               // [rows, rotated / 2]
  const std::int32_t* positions;  // [tokens] row of each token
};

// Causal attention inside the sequences of a packed batch. A family is a sequence and those that
// continue it: they lie behind it and see all of it and themselves, not each other.
template <class X>
struct PackedAttention {
  const X* q;  // [tokens, heads, head_dim], rotated
  const X* k;  // [tokens, kv_heads, head_dim], rotated
  const X* v;  // [tokens, kv_heads, head_dim], tokens v_stride apart
  std::int64_t v_stride;
  const std::int64_t* offsets;   // [sequences + 1] first token of each sequence
  const std::int64_t* families;  // [families + 1] first sequence of each family
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t head_dim;
  float scale;
  float softcap;        // scores := cap tanh(scores / cap), behind the scale; 0 = none
  std::int64_t window;  // a query sees so many keys, its own the last; 0 = all before it
  float* log_sum;       // [tokens, heads] of the scores; written forward, read backward
};

template <class X>
struct PackedAttentionGradient {
  const X* out;       // [tokens, heads, head_dim] result of the forward pass
  const X* grad_out;  // the same shape
  X* grad_q;          // [tokens, heads, head_dim]
  X* grad_k;          // [tokens, kv_heads, head_dim]
  X* grad_v;          // [tokens, kv_heads, head_dim], tokens grad_v_stride apart
  std::int64_t grad_v_stride;
};

// One decode step of attention for sequences that share prompts.
template <class X>
struct DecodeAttention {
  const X* q;  // [batch, heads, head_dim], rotated
  std::int64_t q_stride;
  X* out;  // [batch, heads * head_dim]
  std::int64_t out_stride;
  // Keys lie dimension by dimension, so that a register holds one dimension of many keys.
  const X* prompt_k;                   // per prompt [kv_heads, head_dim, key_columns(its length)]
  const std::int64_t* prompt_k_begin;  // [batch] element of prompt_k where the prompt's keys begin
  const X* prompt_v;                   // [prompt tokens, kv_heads, head_dim]
  const X* own_k;                      // [slots, kv_heads, head_dim, key_columns(capacity)]
  const X* own_v;                      // [slots, capacity, kv_heads, head_dim]
  const std::int64_t* prompt_begin;    // [batch] first prompt token of the sequence's prompt
  const std::int64_t* prompt_length;
  const std::int64_t* own_slot;    // [batch] row of own_k that belongs to the sequence
  const std::int64_t* own_length;  // [batch] including the token of this step
  std::int64_t capacity;
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t head_dim;
  float scale;
  float softcap;        // as in PackedAttention
  std::int64_t window;  // the same
};

// A linear layer for few rows: y [rows, out] = x w^T, with x turned round by `turn_rows`.
struct FewRowsProduct {
  const float* turned;  // [depth, few_rows_padded(rows)]
  const float* w;       // [out, depth]
  float* y;             // rows y_row apart
  std::int64_t y_row;
  std::int64_t rows;
  std::int64_t depth;
};

// What a row of logits says about one target token.
struct RowStats {
  float log_sum_exp;
  float target_logit;
  float entropy;
  std::int32_t argmax;
};

struct AdamwStep {
  float learning_rate, beta2, eps, weight_decay;
  float rest1, rest2;                        // 1 - beta, rounded once: 1 - 0.999f is off by 1e-5
  float bias_correction1, bias_correction2;  // 1 - beta^t
  float gradient_scale;                      // from clipping
};

template <class X>
struct ActivationKernels {
  // h_out = h + delta (delta may be null); y = h_out * rstd * weight.
  void (*add_rms_norm)(const float* h, const X* delta, const float* weight, float eps, float* h_out,
                       X* y, float* rstd, std::int64_t begin, std::int64_t end, std::int64_t width);
  // grad_x = grad_h (may be null) + backward of the norm; grad_delta (may be null) is its copy.
  // grad_weight (may be null) [width] accumulates over the rows.
  void (*rms_norm_backward)(const float* grad_h, const X* grad_y, const float* x, const float* rstd,
                            const float* weight, float* grad_x, X* grad_delta, float* grad_weight,
                            std::int64_t begin, std::int64_t end, std::int64_t width);
  // gate_up [rows, 2 * inner] = gate | up; y = silu(gate) * up.
  void (*swiglu)(const X* gate_up, X* y, std::int64_t begin, std::int64_t end, std::int64_t inner);
  void (*swiglu_backward)(const X* grad_y, const X* gate_up, X* grad_gate_up, std::int64_t begin,
                          std::int64_t end, std::int64_t inner);
  // The same with gelu(gate) in its tanh approximation.
  void (*geglu)(const X* gate_up, X* y, std::int64_t begin, std::int64_t end, std::int64_t inner);
  void (*geglu_backward)(const X* grad_y, const X* gate_up, X* grad_gate_up, std::int64_t begin,
                         std::int64_t end, std::int64_t inner);
  // Rotates (after the optional norm) `in` (first head of the first token) into out [tokens, heads,
  // head_dim]; rstd [tokens, heads] is written when there is a norm.
  void (*rotate)(const HeadLayout& layout, const X* in, X* out, float* rstd, std::int64_t begin,
                 std::int64_t end);
  // Gradient back into the fused product (overwrites its part); grad_norm (may be null)
  // accumulates.
  void (*rotate_backward)(const HeadLayout& layout, const X* grad_out, const X* in,
                          const float* rstd, X* grad_in, float* grad_norm, std::int64_t begin,
                          std::int64_t end);
  // Tasks are (family, kv head) pairs, family-major; scratch as attention_scratch says, for
  // the largest family of the tasks. out [tokens, heads, head_dim].
  void (*packed_attention)(const PackedAttention<X>& job, X* out, float* scratch,
                           std::int64_t begin, std::int64_t end);
  void (*packed_attention_backward)(const PackedAttention<X>& job,
                                    const PackedAttentionGradient<X>& gradient, float* scratch,
                                    std::int64_t begin, std::int64_t end);
  // Tasks are (sequence, kv head) pairs, sequence-major; scratch as decode_scratch says.
  void (*decode_attention)(const DecodeAttention<X>& job, float* scratch, std::int64_t begin,
                           std::int64_t end);
  // logits [rows, vocabulary]; targets may be null.
  void (*row_stats)(const X* logits, const std::int32_t* targets, RowStats* stats,
                    std::int64_t begin, std::int64_t end, std::int64_t vocabulary);
  // In place: logits := grad * (softmax - onehot(target)) * -1, the gradient of grad * log
  // p(target).
  void (*log_prob_backward)(X* logits, const std::int32_t* targets, const RowStats* stats,
                            const float* grad, std::int64_t begin, std::int64_t end,
                            std::int64_t vocabulary);
};

struct Kernels {
  const char* name;  // "avx512", "avx2", "baseline"
  // Floats of scratch memory that packed_attention needs for a family whose first sequence has
  // `first` tokens and whose others have at most `rest`.
  std::int64_t (*attention_scratch)(std::int64_t first, std::int64_t rest, std::int64_t head_dim);
  // Floats of scratch memory of decode_attention: query heads per kv head, longest sequence.
  std::int64_t (*decode_scratch)(std::int64_t queries, std::int64_t longest, std::int64_t head_dim);
  // Columns that a cache keeps for the keys of so many tokens.
  std::int64_t (*key_columns)(std::int64_t tokens);
  ActivationKernels<float> f32;
  ActivationKernels<Bf16> bf16;
  void (*adamw)(const AdamwStep& step, float* weight, const float* gradient, float* first_moment,
                float* second_moment, std::int64_t begin, std::int64_t end);
  std::int64_t (*few_rows_padded)(std::int64_t rows);
  // Columns [begin, end) of x [rows, depth], its rows x_row apart.
  void (*turn_rows)(const float* x, std::int64_t x_row, std::int64_t rows, std::int64_t begin,
                    std::int64_t end, float* turned);
  // Columns [begin, end) of y.
  void (*few_rows_product)(const FewRowsProduct& job, std::int64_t begin, std::int64_t end);
  // Double-precision sum of squares.
  double (*sum_of_squares)(const float* values, std::int64_t begin, std::int64_t end);
  // exp(values - shift) into out; returns the sum.
  double (*exp_shifted)(const float* values, float shift, float inverse_temperature, float* out,
                        std::int64_t count);
};

// The best set that this CPU can run.
const Kernels& kernels();
// Every set that this CPU can run, best first (tests compare them).
std::size_t available_kernels(const Kernels** out, std::size_t capacity);

// The CPU multiplies bfloat16 matrices natively (avx512_bf16 or amx_bf16).
bool cpu_has_bf16();

}  // namespace limbic::kernels
