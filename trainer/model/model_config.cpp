#include "trainer/model/model_config.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <numbers>

#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::model {
namespace {

class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  bool has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }

  // The key stands in the file, be it null.
  bool names(const char* key) const { return json_.contains(key); }

  std::int64_t size(const char* key) const {
    if (!has(key)) fail(key, "nothing", "a positive whole number");
    const Json& value = json_.at(key);
    if (!value.is_number_integer() || value.get<std::int64_t>() <= 0) {
      fail(key, value.dump(), "a positive whole number");
    }
    return value.get<std::int64_t>();
  }
  std::int64_t size_or(const char* key, std::int64_t other) const {
    return has(key) ? size(key) : other;
  }
  double number_or(const char* key, double other) const {
    if (!has(key)) return other;
    if (!json_.at(key).is_number()) fail(key, json_.at(key).dump(), "a number");
    return json_.at(key).get<double>();
  }
  double positive(const char* key) const {
    if (!has(key)) fail(key, "nothing", "a number above 0");
    return positive_or(key, 0);
  }
  double positive_or(const char* key, double other) const {
    if (!has(key)) return other;
    const double value = number_or(key, other);
    if (!(value > 0.0)) fail(key, json_.at(key).dump(), "a number above 0");
    return value;
  }
  bool flag_or(const char* key, bool other) const {
    if (!has(key)) return other;
    if (!json_.at(key).is_boolean()) fail(key, json_.at(key).dump(), "true or false");
    return json_.at(key).get<bool>();
  }
  std::string text_or(const char* key, const std::string& other) const {
    if (!has(key)) return other;
    if (!json_.at(key).is_string()) fail(key, json_.at(key).dump(), "a string");
    return json_.at(key).get<std::string>();
  }
  Reader section(const char* key) const {
    if (!json_.at(key).is_object()) fail(key, json_.at(key).dump(), "an object");
    return Reader(json_.at(key), where_ + ": " + key);
  }
  [[noreturn]] void fail(const char* key, const std::string& got, const std::string& want) const {
    throw DataError(fmt::format("{}: {}: got {}, want {}", where_, key, got, want));
  }

 private:
  const Json& json_;
  std::string where_;
};

RopeConfig read_rope(const Reader& config) {
  RopeConfig rope;
  rope.theta = config.positive_or("rope_theta", rope.theta);
  const char* key = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!config.has(key)) return rope;
  const Reader section = config.section(key);
  rope.theta = section.positive_or("rope_theta", rope.theta);
  const std::string kind = section.text_or("rope_type", section.text_or("type", "default"));
  if (section.has("mrope_section")) {
    section.fail("mrope_section", "multimodal rope", "rope type default or llama3");
  }
  if (kind == "default") return rope;
  if (kind != "llama3") {
    section.fail("rope_type", "'" + kind + "'", "default or llama3; limbic has no other rope type");
  }
  rope.kind = RopeConfig::Kind::kLlama3;
  rope.factor = section.positive("factor");
  rope.low_freq_factor = section.positive("low_freq_factor");
  rope.high_freq_factor = section.positive("high_freq_factor");
  rope.original_max_position_embeddings = section.positive("original_max_position_embeddings");
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    section.fail("high_freq_factor", fmt::format("{}", rope.high_freq_factor),
                 fmt::format("more than low_freq_factor {}", rope.low_freq_factor));
  }
  return rope;
}

void read_family(const Reader& config, ModelConfig& out) {
  const std::string& name = out.architecture;
  if (name == "LlamaForCausalLM") {
    const bool bias = config.flag_or("attention_bias", false);
    out.qkv_bias = bias;
    out.output_bias = bias;
    out.mlp_bias = config.flag_or("mlp_bias", false);
  } else if (name == "MistralForCausalLM") {
    // Absent is transformers' default, null is none.
    out.sliding_window =
        config.names("sliding_window") ? config.size_or("sliding_window", 0) : 4096;
  } else if (name == "Qwen2ForCausalLM") {
    out.qkv_bias = true;
    if (config.flag_or("use_sliding_window", false)) {
      out.sliding_window = config.size_or("sliding_window", 0);
    }
  } else if (name == "Qwen3ForCausalLM") {
    out.qk_norm = true;
    const bool bias = config.flag_or("attention_bias", false);
    out.qkv_bias = bias;
    out.output_bias = bias;
    if (config.flag_or("use_sliding_window", false)) {
      out.sliding_window = config.size_or("sliding_window", 0);
    }
  } else {
    config.fail("architectures", "'" + name + "'",
                "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM or Qwen3ForCausalLM");
  }
}

void read_token_ids(const Json& json, const std::string& where, std::vector<std::int32_t>& out) {
  if (!json.contains("eos_token_id") || json.at("eos_token_id").is_null()) return;
  out.clear();
  const Json& value = json.at("eos_token_id");
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& item : list) {
    if (!item.is_number_integer()) {
      throw DataError(fmt::format("{}: eos_token_id: got {}, want a token id or a list of them",
                                  where, value.dump()));
    }
    out.push_back(item.get<std::int32_t>());
  }
}

Json parse_file(const std::string& path) {
  try {
    Json json = Json::parse(read_file(path));
    if (!json.is_object()) throw DataError(path + ": got no JSON object, want one");
    return json;
  } catch (const Json::parse_error& error) {
    throw DataError(fmt::format("{}: got broken JSON ({}), want an object", path, error.what()));
  }
}

}  // namespace

ModelConfig ModelConfig::load(const std::string& folder) {
  namespace fs = std::filesystem;
  if (!fs::is_directory(folder)) {
    throw DataError(
        fmt::format("{}: got no such folder, want a Hugging Face model folder with "
                    "config.json, model.safetensors and tokenizer.json",
                    folder));
  }
  const std::string path = folder + "/config.json";
  ModelConfig config = parse(parse_file(path), path);
  const std::string generation = folder + "/generation_config.json";
  if (fs::exists(generation))
    read_token_ids(parse_file(generation), generation, config.eos_token_ids);
  return config;
}

ModelConfig ModelConfig::parse(const Json& json, const std::string& where) {
  const Reader config(json, where);
  ModelConfig out;
  out.raw = json;
  if (!config.has("architectures") || !json.at("architectures").is_array() ||
      json.at("architectures").size() != 1 || !json.at("architectures")[0].is_string()) {
    config.fail("architectures",
                config.has("architectures") ? json.at("architectures").dump() : "nothing",
                "a list with one architecture such as LlamaForCausalLM");
  }
  out.architecture = json.at("architectures")[0].get<std::string>();
  read_family(config, out);
  out.hidden_size = config.size("hidden_size");
  out.intermediate_size = config.size("intermediate_size");
  out.num_hidden_layers = config.size("num_hidden_layers");
  out.num_attention_heads = config.size("num_attention_heads");
  out.num_key_value_heads = config.size_or("num_key_value_heads", out.num_attention_heads);
  const bool explicit_dim = config.has("head_dim");
  if (!explicit_dim && out.hidden_size % out.num_attention_heads != 0) {
    config.fail(
        "num_attention_heads", std::to_string(out.num_attention_heads),
        fmt::format("a divisor of hidden_size {} or an explicit head_dim", out.hidden_size));
  }
  out.head_dim = config.size_or("head_dim", out.architecture == "Qwen3ForCausalLM" && !explicit_dim
                                                ? 128
                                                : out.hidden_size / out.num_attention_heads);
  out.vocab_size = config.size("vocab_size");
  out.max_position_embeddings = config.size_or("max_position_embeddings", 2048);
  out.rms_norm_eps = config.number_or("rms_norm_eps", 1e-6);
  out.initializer_range = config.number_or("initializer_range", 0.02);
  out.tie_word_embeddings = config.flag_or("tie_word_embeddings", false);
  out.rope = read_rope(config);
  const std::string activation = config.text_or("hidden_act", "silu");
  if (activation != "silu") config.fail("hidden_act", "'" + activation + "'", "silu");
  if (out.num_attention_heads % out.num_key_value_heads != 0) {
    config.fail("num_key_value_heads", std::to_string(out.num_key_value_heads),
                fmt::format("a divisor of num_attention_heads {}", out.num_attention_heads));
  }
  if (out.head_dim % 2 != 0 || out.head_dim > 512) {
    config.fail("head_dim", std::to_string(out.head_dim), "an even number of at most 512");
  }
  read_token_ids(json, where, out.eos_token_ids);
  return out;
}

std::vector<double> rope_frequencies(const RopeConfig& rope, std::int64_t head_dim) {
  std::vector<double> frequencies;
  for (std::int64_t i = 0; i < head_dim; i += 2) {
    double frequency =
        std::pow(rope.theta, -static_cast<double>(i) / static_cast<double>(head_dim));
    if (rope.kind == RopeConfig::Kind::kLlama3) {
      const double length = 2.0 * std::numbers::pi / frequency;
      const double low = rope.original_max_position_embeddings / rope.low_freq_factor;
      const double high = rope.original_max_position_embeddings / rope.high_freq_factor;
      if (length > low) {
        frequency /= rope.factor;
      } else if (length >= high) {
        const double smooth =
            (rope.original_max_position_embeddings / length - rope.low_freq_factor) /
            (rope.high_freq_factor - rope.low_freq_factor);
        frequency = (1.0 - smooth) * frequency / rope.factor + smooth * frequency;
      }
    }
    frequencies.push_back(frequency);
  }
  return frequencies;
}

}  // namespace limbic::model
