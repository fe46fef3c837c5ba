// Small random models for tests, built in memory.
#pragma once

#include <ATen/Parallel.h>

#include <cstdint>
#include <string>

#include "trainer/model/decoder.h"
#include "trainer/model/weights.h"

namespace limbic::model {

// A Llama of odd sizes: 3 query heads per key head, 2 layers, 61 tokens. Weights are ten times
// larger than usual so that its distributions are far from flat.
inline Json tiny_config() {
  return Json{{"architectures", Json::array({"LlamaForCausalLM"})},
              {"hidden_size", 24},
              {"intermediate_size", 36},
              {"num_hidden_layers", 2},
              {"num_attention_heads", 6},
              {"num_key_value_heads", 2},
              {"head_dim", 10},
              {"vocab_size", 61},
              {"max_position_embeddings", 64},
              {"rms_norm_eps", 1e-5},
              {"initializer_range", 0.2},
              {"tie_word_embeddings", false},
              {"eos_token_id", 2}};
}

inline Decoder tiny_model(WeightUse use = WeightUse::kFrozen, at::ScalarType type = at::kFloat,
                          const Json& config = tiny_config(), std::uint64_t seed = 5) {
  at::set_num_threads(1);  // on a busy machine handing such small work over takes longer than it
  Decoder decoder(ModelConfig::parse(config, "tiny"), type, at::kCPU);
  initialize_weights(decoder, seed, use);
  return decoder;
}

}  // namespace limbic::model
