// The sizes and switches of a decoder, from the config.json of a Hugging Face folder (transformers
// v4 and v5 spellings). Families: Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma 1 to 3 (text).
// Anything else is refused by name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/model/config/rope.h"

namespace limbic::model {

enum class Activation { kSilu, kGeluTanh };

// What may differ between the layers of a model.
struct LayerKind {
  bool slides = false;      // its type is sliding_attention
  std::int64_t window = 0;  // a token sees so many tokens, itself the last; 0 = all before it
  std::size_t rope = 0;     // index into `ropes`
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
  // Tokens of a sequence: as many, or `factor` times as many with a dynamic rope.
  std::int64_t longest_sequence = 0;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;     // q, k and v projections
  bool output_bias = false;  // o projection
  bool mlp_bias = false;
  bool qk_norm = false;            // per-head RMS norm of q and k
  bool post_norms = false;         // RMS norms behind attention and MLP (Gemma 2 and 3)
  bool fused_projections = false;  // qkv_proj and gate_up_proj are one tensor each (Phi-3)
  double norm_offset = 0.0;        // norms multiply by it plus their weight (Gemma: 1)
  double embedding_scale = 1.0;    // of the embeddings that enter the first layer
  double attention_scale = 0.0;    // of the scores of attention
  double attention_softcap = 0.0;  // scores := cap tanh(scores / cap); 0 = none
  double logit_softcap = 0.0;      // the same for logits
  Activation activation = Activation::kSilu;
  std::vector<RopeConfig> ropes;
  std::vector<LayerKind> layer_kinds;       // [num_hidden_layers]
  std::vector<std::int32_t> eos_token_ids;  // generation_config.json, else config.json
  Json raw;                                 // config.json as read; unknown keys are written back

  // Throws DataError: missing folder or file, unsupported architecture, rope, activation or layer
  // type, sizes that do not fit each other.
  static ModelConfig load(const std::string& folder);
  // `where` names the source in messages.
  static ModelConfig parse(const Json& config, const std::string& where);

  // Throws DataError when the model has no such token: some tokenizers know more than their model.
  void check_tokens(std::span<const std::int32_t> tokens) const;

  // Longrope turns the keys of longer sequences by other angles. Throws DataError when a sequence
  // of `length` tokens continues one of `first` across that boundary: the keys of both would not go
  // together.
  void check_continuation(std::int64_t first, std::int64_t length) const;
};

}  // namespace limbic::model
