// Private to kernels.cpp: small matrix products in registers.
#pragma once

#include "trainer/tensor/kernels/lanes.h"

namespace limbic::kernels {
namespace {

constexpr std::int64_t kTileRows = 6;
constexpr std::int64_t kAlign = 16;  // what rows of columns are padded to

inline std::int64_t padded(std::int64_t count) { return (count + kAlign - 1) / kAlign * kAlign; }

// C[rows][columns] (+)= A B; A(i, k) = a[i * a_row + k * a_column], B [depth][columns] row-major in
// either activation type. A tile of `Rows` rows and `Wide` lanes of columns stays in registers; the
// last lane holds `part` columns.
template <std::int64_t Rows, std::int64_t Wide, class B>
inline void tile(const float* a, std::int64_t a_row, std::int64_t a_column, const B* b,
                 std::int64_t b_row, float* c, std::int64_t c_row, std::int64_t depth,
                 std::int64_t part, bool add) {
  Floats sum[Rows][Wide];
  for (std::int64_t r = 0; r < Rows; ++r) {
    for (std::int64_t w = 0; w < Wide; ++w) {
      sum[r][w] = add ? load(c + r * c_row + w * kLanes, part) : Floats{};
    }
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    Floats right[Wide];
    for (std::int64_t w = 0; w < Wide; ++w) right[w] = load(b + k * b_row + w * kLanes, part);
    for (std::int64_t r = 0; r < Rows; ++r) {
      const float left = a[r * a_row + k * a_column];
      for (std::int64_t w = 0; w < Wide; ++w) sum[r][w] += left * right[w];
    }
  }
  for (std::int64_t r = 0; r < Rows; ++r) {
    for (std::int64_t w = 0; w < Wide; ++w) store(c + r * c_row + w * kLanes, sum[r][w], part);
  }
}

template <std::int64_t Wide, class B>
inline void column_strip(const float* a, std::int64_t a_row, std::int64_t a_column, const B* b,
                         std::int64_t b_row, float* c, std::int64_t c_row, std::int64_t rows,
                         std::int64_t depth, std::int64_t part, bool add) {
  std::int64_t i = 0;
  const auto step = [&](auto run, std::int64_t size) __attribute__((always_inline)) {
    run(a + i * a_row, a_row, a_column, b, b_row, c + i * c_row, c_row, depth, part, add);
    i += size;
  };
  while (rows - i >= kTileRows) step(tile<kTileRows, Wide, B>, kTileRows);
  while (rows - i >= 3) step(tile<3, Wide, B>, 3);
  if (rows - i == 2) step(tile<2, Wide, B>, 2);
  if (rows - i == 1) step(tile<1, Wide, B>, 1);
}

template <class B>
inline void product(const float* a, std::int64_t a_row, std::int64_t a_column, const B* b,
                    std::int64_t b_row, float* c, std::int64_t c_row, std::int64_t rows,
                    std::int64_t columns, std::int64_t depth, bool add) {
  std::int64_t j = 0;
  for (; j + 2 * kLanes <= columns; j += 2 * kLanes) {
    column_strip<2>(a, a_row, a_column, b + j, b_row, c + j, c_row, rows, depth, kLanes, add);
  }
  for (; j + kLanes <= columns; j += kLanes) {
    column_strip<1>(a, a_row, a_column, b + j, b_row, c + j, c_row, rows, depth, kLanes, add);
  }
  if (j < columns) {
    column_strip<1>(a, a_row, a_column, b + j, b_row, c + j, c_row, rows, depth, columns - j, add);
  }
}

}  // namespace
}  // namespace limbic::kernels
