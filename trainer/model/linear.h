// Linear layers of the decoder: one or more Hugging Face modules that read the same input, fused
// into one matrix (rows of the parts stacked), with optional low-rank adapters per part. Source of
// the adapters: arXiv:2106.09685; names and scale as in PEFT.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

namespace limbic::model {

// One Hugging Face module inside a fused matrix.
struct LinearPart {
  std::string name;      // "model.layers.0.self_attn.q_proj"
  std::int64_t row = 0;  // first row in the fused matrix
  std::int64_t rows = 0;
  std::int64_t rank = 0;  // of its adapter; 0 = none
  double scale = 0.0;     // alpha / rank, or alpha / sqrt(rank) with rsLoRA
};

// Adapters of the adapted parts of one fused matrix; kept in float32, never merged in training. A
// part of a lower rank has zeros in the rows of A and the columns of B that it lacks: their
// gradients are zero as well.
struct Adapter {
  std::int64_t rank = 0;  // the highest of the parts
  double dropout = 0.0;   // on the adapter's input, training only
  at::Tensor a;           // [adapted parts * rank, in]; part i owns rows i * rank ...
  at::Tensor b;           // [sum of adapted rows, rank]; stacked in the order of the parts
};

struct Linear {
  std::vector<LinearPart> parts;
  at::Tensor weight;   // [out, in] float32 leaf while it is trained, else undefined
  at::Tensor compute;  // [out, in] compute type; the same memory as `weight` in float32
  at::Tensor bias;     // [out] float32, may be undefined
  // [out, in] compute type: what `weight` and `compute` stand in for while an adapter has a whole
  // matrix of its own (PEFT's modules_to_save), else undefined.
  at::Tensor base;
  Adapter adapter;  // rank 0 = none

  // The matrix that products read.
  const at::Tensor& matrix(bool use_adapter) const {
    return !use_adapter && base.defined() ? base : compute;
  }
};

// x w^T without a gradient: x [rows, in], w [out, in] -> [rows, out]. A few rows of float32 on a
// CPU, as in decoding, are multiplied without packing w, which a library would do in every call.
at::Tensor row_product(const at::Tensor& x, const at::Tensor& w);

// x [tokens, in] compute -> [tokens, out] compute. `use_adapter` false gives the frozen base, which
// is the reference policy. `dropout_seed` selects the dropout mask; it is not read when dropout is
// 0 or gradients are off.
at::Tensor apply_linear(const Linear& layer, const at::Tensor& x, bool use_adapter,
                        std::uint64_t dropout_seed);

}  // namespace limbic::model
