// Private to kernels.cpp, which is compiled once per instruction set: scalar and vector access to
// activations, and the exponential. Everything is in an unnamed namespace, so that no code of one
// set is taken for that of another.
#pragma once

#include "trainer/tensor/kernels/kernels.h"

namespace limbic::kernels {
namespace {

inline float load(const float* p) { return *p; }
inline float load(const Bf16* p) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(p->bits) << 16);
}
inline void store(float* p, float value) { *p = value; }
inline void store(Bf16* p, float value) {
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  p->bits = static_cast<std::uint16_t>(is_nan ? 0x7fc0u : rounded);
}

// Loops that compilers do not vectorise by themselves are written in lanes, as wide as a register
// of the instruction set.
constexpr std::int64_t kLanes = LIMBIC_KERNEL_LANES;
typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t Ints __attribute__((vector_size(kLanes * 4)));
typedef std::uint32_t Words __attribute__((vector_size(kLanes * 4)));
typedef std::uint16_t Halves __attribute__((vector_size(kLanes * 2)));

inline Floats lanes(float value) { return value - Floats{}; }

// `count` values from p, at most kLanes; the lanes behind them are 0.
inline Floats load(const float* p, std::int64_t count) {
  Floats v = {};
  __builtin_memcpy(&v, p, static_cast<std::size_t>(count) * sizeof(float));
  return v;
}
inline Floats load(const Bf16* p, std::int64_t count) {
  Halves v = {};
  __builtin_memcpy(&v, p, static_cast<std::size_t>(count) * sizeof(Bf16));
  return reinterpret_cast<Floats>(__builtin_convertvector(v, Words) << 16);
}
inline void store(float* p, Floats v, std::int64_t count) {
  __builtin_memcpy(p, &v, static_cast<std::size_t>(count) * sizeof(float));
}
inline void store(Bf16* p, Floats v, std::int64_t count) {
  const Words bits = reinterpret_cast<Words>(v);
  const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Words quiet = Words{} + 0x7fc0u;
  const Words kept = (bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded;
  const Halves out = __builtin_convertvector(kept, Halves);
  __builtin_memcpy(p, &out, static_cast<std::size_t>(count) * sizeof(Bf16));
}

// f(first, count) over [0, size) in steps of kLanes; count is a constant in all steps but the last.
template <class F>
inline void in_lanes(std::int64_t size, F f) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) f(i, kLanes);
  if (i < size) f(i, size - i);
}

// v with `rest` in the lanes from `count` on.
inline Floats first_lanes(Floats v, std::int64_t count, float rest) {
  for (std::int64_t i = count; i < kLanes; ++i) v[i] = rest;
  return v;
}

inline float sum_of(Floats v) {
  float sum = 0.0f;
  for (std::int64_t i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

// The largest of a row; NaN may or may not count. A loop over single values is not vectorised,
// because the order of comparisons matters to NaN.
template <class X>
inline float largest(const X* row, std::int64_t count) {
  float top = load(row);
  if (count < kLanes) {
    for (std::int64_t i = 1; i < count; ++i) top = load(row + i) > top ? load(row + i) : top;
    return top;
  }
  Floats best = load(row, kLanes);
  std::int64_t i = kLanes;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats x = load(row + i, kLanes);
    best = x > best ? x : best;
  }
  // The rest, together with some that have been seen.
  const Floats last = load(row + count - kLanes, kLanes);
  best = last > best ? last : best;
  for (std::int64_t lane = 0; lane < kLanes; ++lane) top = best[lane] > top ? best[lane] : top;
  return top;
}

// exp with about 1 ulp error on [-87, 88]; below it gives 0, above infinity is never reached by
// callers that shift by the maximum. Degree-6 polynomial on [-ln2/2, ln2/2] (Cephes coefficients).
inline Floats fast_exp(Floats x) {
  const Floats low = lanes(-87.0f);
  const Floats high = lanes(88.0f);
  Floats clamped = x < low ? low : x;
  clamped = clamped > high ? high : clamped;
  const Floats scaled = clamped * 1.44269504088896341f;
  const Floats half = scaled < 0.0f ? lanes(-0.5f) : lanes(0.5f);
  const Ints whole = __builtin_convertvector(scaled + half, Ints);
  const Floats n = __builtin_convertvector(whole, Floats);
  // ln 2 in two pieces; added up first, as the compiler is free to do, they lose the second.
  const Floats coarse = __builtin_assoc_barrier(clamped - n * 0.693359375f);
  const Floats r = coarse + n * 2.12194440e-4f;
  Floats p = lanes(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Floats result = p * reinterpret_cast<Floats>((whole + 127) << 23);
  const Floats bounded = x < low ? Floats{} : result;
  return x != x ? x : bounded;
}
inline float fast_exp(float x) { return fast_exp(lanes(x))[0]; }

// tanh with about 1e-7 absolute error.
inline Floats fast_tanh(Floats x) { return 1.0f - 2.0f / (1.0f + fast_exp(2.0f * x)); }

}  // namespace
}  // namespace limbic::kernels
