#include "tests/support/tiny_model.h"

#include <ATen/Parallel.h>

namespace limbic::model {

Json tiny_config() {
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

Decoder tiny_model(WeightUse use, at::ScalarType type, const Json& config, std::uint64_t seed) {
  at::set_num_threads(1);  // on a busy machine handing such small work over takes longer than it
  Decoder decoder(ModelConfig::parse(config, "tiny"), type, at::kCPU);
  initialize_weights(decoder, seed, use);
  return decoder;
}

}  // namespace limbic::model
