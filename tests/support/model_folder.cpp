#include "tests/support/model_folder.h"

#include <cstring>
#include <random>

#include "trainer/base/file.h"

namespace limbic::test {
namespace {

constexpr const char* kTokenizer =
    LIMBIC_SOURCE_DIR "/tests/unit/template/golden/model/tokenizer.json";

constexpr const char* kChatMl =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

constexpr std::int64_t kHidden = 32, kInner = 64, kHeads = 4, kKeyHeads = 2, kHead = 8, kLayers = 2;

// Vocabulary size and the id of the end of turn.
std::pair<std::int64_t, std::int64_t> tokenizer_sizes() {
  const Json tokenizer = Json::parse(read_file(kTokenizer));
  std::int64_t largest = 0, end = -1;
  for (const auto& [token, id] : tokenizer.at("model").at("vocab").items()) {
    largest = std::max(largest, id.get<std::int64_t>());
  }
  for (const Json& added : tokenizer.at("added_tokens")) {
    const auto id = added.at("id").get<std::int64_t>();
    largest = std::max(largest, id);
    if (added.at("content") == "<|im_end|>") end = id;
  }
  return {largest + 1, end};
}

}  // namespace

void write_tensors(const std::string& path, const std::vector<FileTensor>& tensors) {
  Json header = Json::object();
  std::string data;
  for (const FileTensor& tensor : tensors) {
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(tensor.values.data()),
                tensor.values.size() * sizeof(float));
    header[tensor.name] = {{"dtype", "F32"},
                           {"shape", tensor.shape},
                           {"data_offsets", Json::array({begin, data.size()})}};
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  std::string content(sizeof size, '\0');
  std::memcpy(content.data(), &size, sizeof size);  // little-endian, as the machines limbic runs on
  write_file_atomically(path, content + text + data);
}

Json tiny_config() {
  const auto [vocabulary, end] = tokenizer_sizes();
  return {{"architectures", Json::array({"LlamaForCausalLM"})},
          {"model_type", "llama"},
          {"hidden_act", "silu"},
          {"hidden_size", kHidden},
          {"intermediate_size", kInner},
          {"num_hidden_layers", kLayers},
          {"num_attention_heads", kHeads},
          {"num_key_value_heads", kKeyHeads},
          {"head_dim", kHead},
          {"vocab_size", vocabulary},
          {"max_position_embeddings", 256},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 10000.0},
          {"initializer_range", 0.02},
          {"tie_word_embeddings", false},
          {"eos_token_id", end},
          {"torch_dtype", "float32"}};
}

std::vector<FileTensor> tiny_weights(std::uint64_t seed, std::int64_t vocabulary) {
  std::mt19937_64 random(seed);
  std::vector<FileTensor> tensors;
  const auto matrix = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    FileTensor tensor{name, {rows, columns}, {}};
    for (std::int64_t i = 0; i < rows * columns; ++i) {
      const auto part = static_cast<double>(random() >> 11) / 9007199254740992.0;  // 2^53
      tensor.values.push_back(static_cast<float>(0.3 * (part - 0.5)));
    }
    tensors.push_back(std::move(tensor));
  };
  const auto norm = [&](const std::string& name) {
    tensors.push_back({name, {kHidden}, std::vector<float>(kHidden, 1.0F)});
  };
  matrix("model.embed_tokens.weight", vocabulary, kHidden);
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    norm(prefix + "input_layernorm.weight");
    matrix(prefix + "self_attn.q_proj.weight", kHeads * kHead, kHidden);
    matrix(prefix + "self_attn.k_proj.weight", kKeyHeads * kHead, kHidden);
    matrix(prefix + "self_attn.v_proj.weight", kKeyHeads * kHead, kHidden);
    matrix(prefix + "self_attn.o_proj.weight", kHidden, kHeads * kHead);
    norm(prefix + "post_attention_layernorm.weight");
    matrix(prefix + "mlp.gate_proj.weight", kInner, kHidden);
    matrix(prefix + "mlp.up_proj.weight", kInner, kHidden);
    matrix(prefix + "mlp.down_proj.weight", kHidden, kInner);
  }
  norm("model.norm.weight");
  matrix("lm_head.weight", vocabulary, kHidden);
  return tensors;
}

void write_tiny_model(const std::string& folder, std::uint64_t seed) {
  write_file_atomically(folder + "/config.json", tiny_config().dump(2));
  write_file_atomically(folder + "/tokenizer.json", read_file(kTokenizer));
  write_file_atomically(folder + "/tokenizer_config.json", Json{{"bos_token", nullptr},
                                                                {"eos_token", "<|im_end|>"},
                                                                {"pad_token", nullptr},
                                                                {"chat_template", kChatMl}}
                                                               .dump(2));
  write_tensors(folder + "/model.safetensors", tiny_weights(seed));
}

}  // namespace limbic::test
