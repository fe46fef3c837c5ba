// A packed batch as the rows of a few padded batches, which is what a library's attention takes.
//
// A row is what one sequence attends to, itself included: the first sequence of its family, then
// itself. So a row is causal from its begin to its end, and the padding behind its end is never
// seen: no mask is needed, neither one of (tokens x tokens) nor one per row. The first sequence of
// a family is computed again in the rows of all that continue it; its result is taken from the
// first of them.
//
// Rows of like length share a padded batch: none is shorter than half of the longest beside it, so
// that there are few batches and less than half of their cells are padding.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace limbic::model {

// Cells are numbered through all batches: batch by batch, row by row.
struct PaddedRows {
  struct Batch {
    std::int64_t rows = 0;
    std::int64_t length = 0;  // cells of a row
  };
  std::vector<Batch> batches;
  at::Tensor token;  // [cells] int64: the token of each cell; behind the end of a row its last
  at::Tensor cell;   // [tokens] int64: the cell that gives each token's result
  at::Tensor giver;  // [cells] int64: the token whose result a cell gives; [tokens] for none
  // Further cells that hold a token which others see there: the first sequence of a family in all
  // its rows but the first.
  at::Tensor copied_cell, copied_token;  // [copies] int64

  std::vector<std::int64_t> sizes() const;  // cells of each batch
};

// offsets and families as in PackedTokens; at least one sequence, none empty.
std::shared_ptr<const PaddedRows> pad_rows(const std::vector<std::int64_t>& offsets,
                                           const std::vector<std::int64_t>& families,
                                           at::Device device);

// x [tokens, ...] -> [cells, ...], differentiable.
at::Tensor spread(const at::Tensor& x, const std::shared_ptr<const PaddedRows>& rows);
// x [cells, ...] -> [tokens, ...], differentiable.
at::Tensor collect(const at::Tensor& x, const std::shared_ptr<const PaddedRows>& rows);

}  // namespace limbic::model
