// The sizes and switches of a decoder, from the config.json of a Hugging Face folder (transformers
// v4 and v5 spellings). Families: Llama, Mistral, Qwen2, Qwen3. Anything else is refused by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::model {

struct RopeConfig {
  enum class Kind { kDefault, kLlama3 };
  Kind kind = Kind::kDefault;
  double theta = 10000.0;
  // Llama 3 only.
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 1.0;
  double original_max_position_embeddings = 0.0;
};

struct ModelConfig {
  std::string architecture;  // "LlamaForCausalLM", ...
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;     // q, k and v projections
  bool output_bias = false;  // o projection
  bool mlp_bias = false;
  bool qk_norm = false;             // per-head RMS norm of q and k
  std::int64_t sliding_window = 0;  // 0 = none; longer sequences are refused
  RopeConfig rope;
  std::vector<std::int32_t> eos_token_ids;  // generation_config.json, else config.json
  Json raw;                                 // config.json as read; unknown keys are written back

  // Throws DataError: missing folder or file, unsupported architecture, rope or activation, sizes
  // that do not fit each other.
  static ModelConfig load(const std::string& folder);
  // `where` names the source in messages.
  static ModelConfig parse(const Json& config, const std::string& where);
};

// Angles of the rotary embedding: inverse frequencies [head_dim / 2], float64 arithmetic.
std::vector<double> rope_frequencies(const RopeConfig& rope, std::int64_t head_dim);

}  // namespace limbic::model
