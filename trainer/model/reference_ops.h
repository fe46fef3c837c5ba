// The building blocks of `ops.h` and `linear.h` as plain differentiable ATen formulas: what runs on
// devices without fused kernels and what the fused ones are tested against.
#pragma once

#include "trainer/model/ops.h"

namespace limbic::model::reference {

ResidualNorm add_rms_norm(const at::Tensor& residual, const at::Tensor& delta,
                          const at::Tensor& weight, double eps, at::ScalarType compute);
at::Tensor swiglu(const at::Tensor& gate_up);
at::Tensor packed_attention(const at::Tensor& qkv, const at::Tensor& q_norm,
                            const at::Tensor& k_norm, const AttentionPlan& plan, KeyValueTap* tap);
TokenScores token_logprobs(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& targets, const ScoreOptions& options = {});

}  // namespace limbic::model::reference
