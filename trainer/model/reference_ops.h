// The building blocks of `ops.h` as plain ATen formulas: what runs on devices without fused kernels
// and what the fused ones are tested against. Shapes, types and contracts are those of `ops.h`.
#pragma once

#include "trainer/model/ops.h"

namespace limbic::model::reference {

ResidualNorm add_rms_norm(const at::Tensor& residual, const at::Tensor& delta,
                          const at::Tensor& weight, double eps, at::ScalarType compute);
at::Tensor swiglu(const at::Tensor& gate_up);
at::Tensor geglu(const at::Tensor& gate_up);
// cap tanh(x / cap)
at::Tensor soft_cap(const at::Tensor& x, double cap);

// x [tokens, heads, head_dim], normed with `weight` [head_dim] (may be undefined) and rotated to
// the plan's positions; in the type of x. Reads eps, cos, sin and positions of the plan.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& weight, const AttentionPlan& plan);
at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& q_norm,
                            const at::Tensor& k_norm, const AttentionPlan& plan, KeyValueTap* tap);

// Holds the float32 logits of a chunk of rows at a time; backward computes them again.
TokenScores token_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& trained_head, const at::Tensor& targets,
                           const ScoreOptions& wanted = {}, double softcap = 0.0);
TokenScores token_logprobs_by_chunks(const at::Tensor& hidden, const at::Tensor& head,
                                     const at::Tensor& trained_head, const at::Tensor& targets,
                                     const ScoreOptions& wanted, double softcap,
                                     std::int64_t chunk_rows);

}  // namespace limbic::model::reference
