#include "trainer/model/config/families.h"

#include <algorithm>
#include <cmath>

namespace limbic::model {
namespace {

constexpr const char* kFull = "full_attention";
constexpr const char* kSliding = "sliding_attention";
constexpr std::int64_t kMaxLayers = 4096;
// Of positions x head_dim: a table of their angles then has at most 1 GB.

// transformers' values where config.json has none.
struct Defaults {
  std::int64_t head_dim = 0;  // 0 = hidden_size / num_attention_heads
  std::int64_t positions = 2048;
  bool tied = false;
  double eps = 1e-6;
};

struct Family {
  const char* architecture;
  Defaults defaults;

  void (*read)(const JsonReader& config, ModelConfig& out);
};

// A window for the layers that layer_types names, or else `is_windowed(layer)`.
template <class F>
void read_windows(const JsonReader& config, std::int64_t window, ModelConfig& out, F is_windowed) {
  const auto count = static_cast<std::size_t>(out.num_hidden_layers);
  out.layer_kinds.resize(count);
  const bool named = config.has("layer_types");
  if (named && (!config.json().at("layer_types").is_array() ||
                config.json().at("layer_types").size() != count)) {
    config.fail("layer_types", config.json().at("layer_types").dump(),
                fmt::format("a list of {} types", count));
  }
  for (std::size_t i = 0; i < count; ++i) {
    bool slides = is_windowed(static_cast<std::int64_t>(i));
    if (named) {
      const Json& type = config.json().at("layer_types")[i];
      if (type != kFull && type != kSliding) {
        config.fail("layer_types", type.dump(), fmt::format("{} or {}", kFull, kSliding));
      }
      slides = type == kSliding;
    }
    if (!slides) continue;
    if (window == 0) config.fail("sliding_window", "nothing", "a window for its layers");
    out.layer_kinds[i] = {.slides = true, .window = window};
  }
}

void no_window(const JsonReader& config, ModelConfig& out) {
  read_windows(config, 0, out, [](std::int64_t) { return false; });
}

// Absent is transformers' default, null is none.
std::int64_t window_or(const JsonReader& config, std::int64_t absent) {
  return config.names("sliding_window") ? config.size_or("sliding_window", 0) : absent;
}

void window_everywhere(const JsonReader& config, std::int64_t absent, ModelConfig& out) {
  out.layer_kinds.assign(static_cast<std::size_t>(out.num_hidden_layers),
                         {.window = window_or(config, absent)});
}

void window_from_layer(const JsonReader& config, ModelConfig& out) {
  const bool used = config.flag_or("use_sliding_window", false);
  const std::int64_t window = used ? window_or(config, 4096) : 0;
  const std::int64_t first = config.count_or("max_window_layers", 28);
  read_windows(config, window, out, [&](std::int64_t i) { return window > 0 && i >= first; });
}

void read_silu(const JsonReader& config) {
  const std::string activation = config.text_or("hidden_act", "silu");
  if (activation != "silu") config.fail("hidden_act", "'" + activation + "'", "silu");
}

void read_llama(const JsonReader& config, ModelConfig& out) {
  read_silu(config);
  const bool bias = config.flag_or("attention_bias", false);
  out.qkv_bias = bias;
  out.output_bias = bias;
  out.mlp_bias = config.flag_or("mlp_bias", false);
  no_window(config, out);
}

void read_mistral(const JsonReader& config, ModelConfig& out) {
  read_silu(config);
  window_everywhere(config, 4096, out);
}

void read_qwen2(const JsonReader& config, ModelConfig& out) {
  read_silu(config);
  out.qkv_bias = true;
  window_from_layer(config, out);
}

void read_qwen3(const JsonReader& config, ModelConfig& out) {
  read_silu(config);
  out.qk_norm = true;
  const bool bias = config.flag_or("attention_bias", false);
  out.qkv_bias = bias;
  out.output_bias = bias;
  window_from_layer(config, out);
}

void read_phi3(const JsonReader& config, ModelConfig& out) {
  read_silu(config);
  out.fused_projections = true;
  window_everywhere(config, 0, out);
}

// What the three Gemmas share. `key` holds the activation.
void read_gemma_basics(const JsonReader& config, const char* key, ModelConfig& out) {
  const std::string activation = config.text_or(key, "gelu_pytorch_tanh");
  // Gemma 1 files say "gelu" and mean the approximation.
  const bool old = out.architecture == "GemmaForCausalLM" && activation == "gelu";
  if (activation != "gelu_pytorch_tanh" && !old) {
    config.fail(key, "'" + activation + "'", "gelu_pytorch_tanh");
  }
  if (config.flag_or("use_bidirectional_attention", false)) {
    config.fail("use_bidirectional_attention", "true",
                "false; limbic generates from left to right");
  }
  out.activation = Activation::kGeluTanh;
  out.norm_offset = 1.0;
  out.embedding_scale = std::sqrt(static_cast<double>(out.hidden_size));
  const bool bias = config.flag_or("attention_bias", false);
  out.qkv_bias = bias;
  out.output_bias = bias;
}

void read_gemma(const JsonReader& config, ModelConfig& out) {
  read_gemma_basics(config, "hidden_act", out);
  no_window(config, out);
}

void read_gemma2(const JsonReader& config, ModelConfig& out) {
  read_gemma_basics(config, "hidden_activation", out);
  out.post_norms = true;
  out.attention_scale = 1.0 / std::sqrt(config.positive_or("query_pre_attn_scalar", 256.0));
  const auto cap = [&](const char* key, double absent) {
    return config.names(key) ? config.positive_or(key, 0.0) : absent;
  };
  out.attention_softcap = cap("attn_logit_softcapping", 50.0);
  out.logit_softcap = cap("final_logit_softcapping", 30.0);
  read_windows(config, window_or(config, 4096), out, [](std::int64_t i) { return i % 2 == 0; });
}

void read_gemma3(const JsonReader& config, ModelConfig& out) {
  read_gemma_basics(config, "hidden_activation", out);
  out.post_norms = true;
  out.qk_norm = true;
  out.attention_scale = 1.0 / std::sqrt(config.positive_or("query_pre_attn_scalar", 256.0));
  if (config.has("attn_logit_softcapping")) {
    config.fail("attn_logit_softcapping", config.json().at("attn_logit_softcapping").dump(),
                "null; a Gemma 3 does not cap its attention, not even in transformers");
  }
  out.logit_softcap = config.positive_or("final_logit_softcapping", 0.0);
  const std::int64_t pattern = config.size_or("sliding_window_pattern", 6);
  read_windows(config, window_or(config, 4096), out,
               [&](std::int64_t i) { return (i + 1) % pattern != 0; });
}

constexpr Family kFamilies[] = {
    {"LlamaForCausalLM", {}, read_llama},
    {"MistralForCausalLM", {.positions = 131072}, read_mistral},
    {"Qwen2ForCausalLM", {.positions = 32768}, read_qwen2},
    {"Qwen3ForCausalLM", {.head_dim = 128, .positions = 32768}, read_qwen3},
    {"Phi3ForCausalLM", {.positions = 4096, .eps = 1e-5}, read_phi3},
    {"GemmaForCausalLM", {.head_dim = 256, .positions = 8192, .tied = true}, read_gemma},
    {"Gemma2ForCausalLM", {.head_dim = 256, .positions = 8192, .tied = true}, read_gemma2},
    {"Gemma3ForCausalLM", {.head_dim = 256, .positions = 131072, .tied = true}, read_gemma3}};

const Family& family_of(const JsonReader& config, const std::string& architecture) {
  std::string known;
  for (const Family& family : kFamilies) {
    if (architecture == family.architecture) return family;
    known += (known.empty() ? "" : ", ") + std::string(family.architecture);
  }
  config.fail("architectures", "'" + architecture + "'", "one of " + known);
}

void no_dropout(const JsonReader& config) {
  for (const char* key : {"attention_dropout", "resid_pdrop", "embd_pdrop"}) {
    if (config.number_or(key, 0.0) != 0.0) {
      config.fail(key, config.json().at(key).dump(), "0; limbic has no dropout in the base");
    }
  }
}

void read_sizes(const JsonReader& config, const Defaults& defaults, ModelConfig& out) {
  out.hidden_size = config.size("hidden_size");
  out.intermediate_size = config.size("intermediate_size");
  out.num_hidden_layers = config.size("num_hidden_layers", kMaxLayers);
  out.num_attention_heads = config.size("num_attention_heads");
  out.num_key_value_heads = config.size_or("num_key_value_heads", out.num_attention_heads);
  std::int64_t head_dim = defaults.head_dim;
  if (!config.has("head_dim") && head_dim == 0) {
    if (out.hidden_size % out.num_attention_heads != 0) {
      config.fail(
          "num_attention_heads", std::to_string(out.num_attention_heads),
          fmt::format("a divisor of hidden_size {} or an explicit head_dim", out.hidden_size));
    }
    head_dim = out.hidden_size / out.num_attention_heads;
  }
  out.head_dim = config.size_or("head_dim", head_dim);
  out.vocab_size = config.size("vocab_size");
  out.rms_norm_eps = config.at_least_0_or("rms_norm_eps", defaults.eps);
  out.initializer_range = config.at_least_0_or("initializer_range", 0.02);
  out.tie_word_embeddings = config.flag_or("tie_word_embeddings", defaults.tied);
  out.attention_scale = 1.0 / std::sqrt(static_cast<double>(out.head_dim));
  if (out.num_attention_heads % out.num_key_value_heads != 0) {
    config.fail("num_key_value_heads", std::to_string(out.num_key_value_heads),
                fmt::format("a divisor of num_attention_heads {}", out.num_attention_heads));
  }
  if (out.head_dim % 2 != 0 || out.head_dim > 512) {
    config.fail("head_dim", std::to_string(out.head_dim), "an even number of at most 512");
  }
  out.max_position_embeddings =
      config.size_or("max_position_embeddings", defaults.positions, kMaxAngles / out.head_dim);
}

constexpr const char* kOldRope = "rope_scaling";  // transformers 4
constexpr const char* kNewRope = "rope_parameters";

bool has_old_rope(const JsonReader& config) {
  return config.has(kOldRope) && !config.json().at(kOldRope).empty();
}
std::string rope_place(const JsonReader& config) {
  if (has_old_rope(config)) return config.where() + ": " + kOldRope;
  return config.has(kNewRope) ? config.where() + ": " + kNewRope : config.where();
}

// Where a file has both spellings, transformers takes the old one, which a user has added; a Gemma
// 3 takes it into the rope of its full layers.
Json rope_section(const JsonReader& config, bool gemma3) {
  const Json old = has_old_rope(config) ? config.section(kOldRope).json() : Json::object();
  if (!config.has(kNewRope)) return old;
  Json section = config.section(kNewRope).json();
  if (old.empty()) return section;
  if (!gemma3 || !section.contains(kFull)) return old;
  section[kFull].update(old);
  return section;
}

// One rope for all layers, or one for each of the two layer types: in an object per type (v5), or
// as Gemma 3 wrote it in v4, where the layers with a window have a plain rope of their own base.
void read_ropes(const JsonReader& config, ModelConfig& out) {
  const Json nothing = Json::object();
  const JsonReader empty(nothing, config.where());
  const bool gemma3 = out.architecture == "Gemma3ForCausalLM";
  const bool phi3 = out.architecture == "Phi3ForCausalLM";
  const double theta = config.positive_or("rope_theta", gemma3 ? 1e6 : 1e4);
  const double local = gemma3 ? config.positive_or("rope_local_base_freq", 1e4) : theta;
  const auto read = [&](const JsonReader& section, double base) {
    return read_rope(config, section, base, out.head_dim, out.max_position_embeddings, phi3);
  };
  const Json merged = rope_section(config, gemma3);
  const JsonReader section(merged, rope_place(config));
  const bool per_type = section.has(kFull) || section.has(kSliding);
  if (!per_type && !gemma3) {
    out.ropes = {read(section, theta)};
    return;
  }
  const auto of_type = [&](const char* type, double base, bool used) {
    if (!section.has(type) && used && !gemma3) {
      section.fail(type, "nothing", "the rope of layers of that type");
    }
    return read(section.has(type) ? section.section(type) : empty, base);
  };
  const auto slides = [](const LayerKind& kind) { return kind.slides; };
  const auto& kinds = out.layer_kinds;
  const RopeConfig global =
      per_type ? of_type(kFull, theta, !std::ranges::all_of(kinds, slides)) : read(section, theta);
  const RopeConfig sliding =
      per_type ? of_type(kSliding, local, std::ranges::any_of(kinds, slides)) : read(empty, local);
  out.ropes = {global, sliding};
  for (LayerKind& kind : out.layer_kinds) kind.rope = kind.slides ? 1 : 0;
}

}  // namespace

void read_family(const JsonReader& config, ModelConfig& out) {
  const Family& family = family_of(config, out.architecture);
  no_dropout(config);
  read_sizes(config, family.defaults, out);
  family.read(config, out);
  read_ropes(config, out);
  for (const RopeConfig& rope : out.ropes) {
    out.longest_sequence =
        std::max(out.longest_sequence, longest_sequence(rope, out.max_position_embeddings));
  }
}

}  // namespace limbic::model
