// Named counter-based random streams: every use of randomness is a pure function of (run seed, name
// of the use, counters), so order of evaluation, world size and resume do not change what is drawn.
//
//     Random random(derive_seed(run.seed, "shuffle", epoch));
//
// Source: SplitMix64 (Steele, Lea, Flood 2014) as mixer and generator.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace limbic {

constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

template <class... Counters>
constexpr std::uint64_t derive_seed(std::uint64_t seed, std::string_view use,
                                    Counters... counters) {
  std::uint64_t state = mix64(seed);
  for (char c : use) state = mix64(state ^ static_cast<unsigned char>(c));
  ((state = mix64(state ^ static_cast<std::uint64_t>(counters))), ...);
  return state;
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    const std::uint64_t value = mix64(state_);
    state_ += 0x9e3779b97f4a7c15ull;
    return value;
  }
  // Uniform in [0, 1) with 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  // Uniform in [0, bound), unbiased. Requires: bound > 0.
  std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t limit = ~std::uint64_t{0} - ~std::uint64_t{0} % bound;
    std::uint64_t value = next();
    while (value >= limit) value = next();
    return value % bound;
  }
  // Fisher-Yates; the same on every platform (std::shuffle is not).
  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i > 1; --i) {
      using std::swap;
      swap(items[i - 1], items[below(i)]);
    }
  }

 private:
  std::uint64_t state_;
};

}  // namespace limbic
