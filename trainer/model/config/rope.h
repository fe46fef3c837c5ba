// Rotary position embedding: the frequencies that a config asks for, and the tables of its cosines
// and sines. Sources: arXiv:2104.09864; linear arXiv:2306.15595; yarn arXiv:2309.00071; longrope
// arXiv:2402.13753; llama3 and every default as in transformers.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "trainer/model/config/json_reader.h"

namespace limbic::model {

// A table is kept for so many positions times head_dim.
inline constexpr std::int64_t kMaxAngles = std::int64_t{1} << 29;

struct RopeConfig {
  enum class Kind { kDefault, kLinear, kDynamic, kYarn, kLongrope, kLlama3 };
  Kind kind = Kind::kDefault;
  double theta = 10000.0;
  double partial = 1.0;  // share of a head's dimensions that is rotated, from the first on
  double factor = 1.0;
  // Llama 3, yarn, longrope: positions that the model was trained on before it was stretched.
  // dynamic: the model's positions, beyond which a longer sequence has a larger base.
  double original_positions = 0.0;
  double low_freq_factor = 1.0;   // Llama 3
  double high_freq_factor = 1.0;  // Llama 3
  double beta_fast = 32.0;        // yarn
  double beta_slow = 1.0;         // yarn
  bool truncate = true;           // yarn
  double attention_factor = 1.0;  // yarn, longrope: cosines and sines are multiplied by it
  // longrope: what inverse frequencies are divided by, in sequences of at most original_positions
  // and in longer ones; [rotated dimensions / 2]
  std::vector<double> short_factors = {}, long_factors = {};
};

// Which dimensions of a head are rotated: the first so many, an even number.
std::int64_t rotated_dimensions(const RopeConfig& rope, std::int64_t head_dim);

// Inverse frequencies [rotated / 2], which are float32 and computed as transformers does: at a far
// position one unit in the last place is a visible angle. `length`: tokens of the sequence, which
// count beyond the original positions of longrope and dynamic.
std::vector<double> rope_frequencies(const RopeConfig& rope, std::int64_t head_dim,
                                     std::int64_t length = 0);

// Tokens that a sequence may have: a dynamic rope reaches `factor` times as far.
std::int64_t longest_sequence(const RopeConfig& rope, std::int64_t max_positions);

// Reads one object of rope_parameters or rope_scaling. `config` is the whole file, `theta` what
// holds when neither names one, `partial` whether the family turns but a share of a head when it is
// told to (others pass over it, as transformers does). Throws DataError: an unknown type (named),
// missing numbers.
RopeConfig read_rope(const JsonReader& config, const JsonReader& section, double theta,
                     std::int64_t head_dim, std::int64_t max_positions, bool partial);

struct RopeRows {
  at::Tensor cos, sin;  // [rows, rotated / 2] float32
};

// Cosines and sines by position. With longrope a second set of rows, for sequences of more than
// `short_limit` tokens, begins at row `short_limit`. With a dynamic rope, row p beyond
// `dynamic_limit` is of a sequence that ends with it, as generation meets it; all rows of a longer
// sequence come from `of_length`.
struct RopeTable : RopeRows {
  RopeTable(const RopeConfig& rope, std::int64_t head_dim, std::int64_t positions,
            at::Device device);
  // Rows [0, length) of a sequence of `length` tokens.
  RopeRows of_length(std::int64_t length) const;

  std::int64_t short_limit = 0;    // 0 = one set of rows
  std::int64_t dynamic_limit = 0;  // 0 = no dynamic rope

 private:
  RopeConfig config_;
  std::int64_t head_dim_;
};

}  // namespace limbic::model
