// How close two emotions are, by their places on a circle of valence (x) and arousal (y).
// Source: PRC-Emo (AAAI 2026), eq. 1, with the angles of its published code. With N labels:
//
//   s(a, b) = 1                                the same place
//             1 / N                            one of them is neutral, which lies at the origin
//             max(cos(angle between them), 0)  both valences have one sign
//             0                                the signs differ
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace limbic::data {

class EmotionWheel {
 public:
  // `emotions`: all N labels of the task, words of the wheel in any case. Throws ConfigError
  // `got ..., want ...`: fewer than two, a word the wheel does not have, two words of one place.
  explicit EmotionWheel(const std::vector<std::string>& emotions);

  // Index of the emotion of the task that a word names (joy is happy); empty for any other word.
  std::optional<std::size_t> find(std::string_view word) const;
  // Symmetric, 0 to 1. Requires: indices of `find`.
  double similarity(std::size_t a, std::size_t b) const { return similarity_[a][b]; }

 private:
  std::vector<std::size_t> places_;              // [emotions] row of the table of places
  std::vector<std::vector<double>> similarity_;  // [emotions, emotions]
};

}  // namespace limbic::data
