// Private to kernels.cpp: y = x w^T for few rows of x, with w [out, depth] as linear layers hold
// it. The rows of x stand in the lanes of a register and w is spread one value at a time, so w is
// read once, from the memory that training updates, and never packed: libraries pack it in every
// call, which few rows do not repay.
#pragma once

#include "trainer/tensor/kernels/lanes.h"

namespace limbic::kernels {
namespace {

constexpr std::int64_t kBlockLanes = 4;  // registers of rows at a time
// One float sum over all of a deep product would drift; sums of blocks do not.
constexpr std::int64_t kDepthBlock = 256;

// Columns of w at a time, so that the sums stay in registers.
constexpr std::int64_t tile_columns(std::int64_t registers) {
  const std::int64_t sums = kLanes >= 16 ? 24 : 12;
  const std::int64_t columns = sums / registers;
  return columns > 12 ? 12 : columns;
}

std::int64_t few_rows_padded(std::int64_t rows) { return (rows + kLanes - 1) / kLanes * kLanes; }

// A square of registers: lane i of register j <-> lane j of register i.
inline void turn(Floats (&square)[kLanes]) {
  for (std::int64_t step = 1; step < kLanes; step *= 2) {
    Ints low = {}, high = {};
    for (std::int64_t i = 0; i < kLanes; ++i) {
      const bool second = (i & step) != 0;
      low[i] = static_cast<std::int32_t>(second ? kLanes + i - step : i);
      high[i] = static_cast<std::int32_t>(second ? kLanes + i : i + step);
    }
    for (std::int64_t i = 0; i < kLanes; ++i) {
      if ((i & step) != 0) continue;
      const Floats a = square[i], b = square[i + step];
      square[i] = __builtin_shuffle(a, b, low);
      square[i + step] = __builtin_shuffle(a, b, high);
    }
  }
}

void turn_rows(const float* x, std::int64_t x_row, std::int64_t rows, std::int64_t begin,
               std::int64_t end, float* turned) {
  const std::int64_t wide = few_rows_padded(rows);
  for (std::int64_t row = 0; row < wide; row += kLanes) {
    std::int64_t k = begin;
    for (; k + kLanes <= end; k += kLanes) {
      Floats square[kLanes] = {};
      for (std::int64_t i = 0; i < kLanes && row + i < rows; ++i) {
        square[i] = load(x + (row + i) * x_row + k, kLanes);
      }
      turn(square);
      for (std::int64_t i = 0; i < kLanes; ++i) {
        store(turned + (k + i) * wide + row, square[i], kLanes);
      }
    }
    for (; k < end; ++k) {
      for (std::int64_t i = 0; i < kLanes; ++i) {
        turned[k * wide + row + i] = row + i < rows ? x[(row + i) * x_row + k] : 0.0f;
      }
    }
  }
}

// sum += columns [0, Columns) of w against `Registers` registers of rows, over [from, to) of depth.
template <std::int64_t Registers, std::int64_t Columns>
inline void few_rows_sums(const float* x, std::int64_t wide, const float* w, std::int64_t depth,
                          std::int64_t from, std::int64_t to, Floats (&total)[Columns][Registers]) {
  Floats sum[Columns][Registers] = {};
  // The columns of the next tile follow in memory; the rows of this one are too many streams for
  // the processor to see that coming.
  const float* next = w + Columns * depth;
  for (std::int64_t k = from; k < to; ++k) {
    __builtin_prefetch(next + k * Columns);
    Floats right[Registers];
    for (std::int64_t r = 0; r < Registers; ++r) {
      right[r] = load(x + k * wide + r * kLanes, kLanes);
    }
    for (std::int64_t c = 0; c < Columns; ++c) {
      const float left = w[c * depth + k];
      for (std::int64_t r = 0; r < Registers; ++r) sum[c][r] += left * right[r];
    }
  }
  for (std::int64_t c = 0; c < Columns; ++c) {
    for (std::int64_t r = 0; r < Registers; ++r) total[c][r] += sum[c][r];
  }
}

template <std::int64_t Registers, std::int64_t Columns>
inline void few_rows_tile(const FewRowsProduct& job, std::int64_t row, std::int64_t column) {
  const std::int64_t wide = few_rows_padded(job.rows);
  const float* w = job.w + column * job.depth;
  Floats total[Columns][Registers] = {};
  for (std::int64_t k = 0; k < job.depth; k += kDepthBlock) {
    const std::int64_t end = k + kDepthBlock < job.depth ? k + kDepthBlock : job.depth;
    few_rows_sums(job.turned + row, wide, w, job.depth, k, end, total);
  }
  const std::int64_t rest = job.rows - row;
  const std::int64_t rows = rest < Registers * kLanes ? rest : Registers * kLanes;
  for (std::int64_t i = 0; i < rows; ++i) {
    float* y = job.y + (row + i) * job.y_row + column;
    for (std::int64_t c = 0; c < Columns; ++c) y[c] = total[c][i / kLanes][i % kLanes];
  }
}

template <std::int64_t Registers>
inline void few_rows_block(const FewRowsProduct& job, std::int64_t row, std::int64_t begin,
                           std::int64_t end) {
  constexpr std::int64_t kColumns = tile_columns(Registers);
  std::int64_t c = begin;
  for (; c + kColumns <= end; c += kColumns) few_rows_tile<Registers, kColumns>(job, row, c);
  for (; c + 4 <= end; c += 4) few_rows_tile<Registers, 4>(job, row, c);
  for (; c < end; ++c) few_rows_tile<Registers, 1>(job, row, c);
}

void few_rows_product(const FewRowsProduct& job, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = 0; row < job.rows; row += kBlockLanes * kLanes) {
    const std::int64_t registers = (job.rows - row + kLanes - 1) / kLanes;
    if (registers >= 4) {
      few_rows_block<4>(job, row, begin, end);
    } else if (registers == 3) {
      few_rows_block<3>(job, row, begin, end);
    } else if (registers == 2) {
      few_rows_block<2>(job, row, begin, end);
    } else {
      few_rows_block<1>(job, row, begin, end);
    }
  }
}

}  // namespace
}  // namespace limbic::kernels
