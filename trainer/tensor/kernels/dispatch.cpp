#include <algorithm>
#include <string>

#include "trainer/tensor/kernels/kernels.h"

namespace limbic::kernels {

extern const Kernels avx512;
extern const Kernels avx2;
extern const Kernels baseline;

std::size_t available_kernels(const Kernels** out, std::size_t capacity) {
  std::size_t count = 0;
  const auto add = [&](bool usable, const Kernels& set) {
    if (usable && count < capacity) out[count++] = &set;
  };
  add(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"),
      avx512);
  add(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"), avx2);
  add(true, baseline);
  return count;
}

const Kernels& kernels() {
  static const Kernels* const best = [] {
    const Kernels* set = nullptr;
    available_kernels(&set, 1);
    return set;
  }();
  return *best;
}

bool cpu_has_bf16() { return __builtin_cpu_supports("avx512bf16") != 0; }

}  // namespace limbic::kernels
