#include "trainer/model/model_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/model/refused_config.h"
#include "trainer/base/error.h"

namespace limbic::model {
namespace {

using test::message_of;
using test::TempFolder;

TEST(ModelConfig, ReadsTheSizes) {
  const ModelConfig config = ModelConfig::parse(tiny_config(), "x");
  EXPECT_EQ(config.hidden_size, 24);
  EXPECT_EQ(config.intermediate_size, 36);
  EXPECT_EQ(config.num_attention_heads, 6);
  EXPECT_EQ(config.num_key_value_heads, 2);
  EXPECT_EQ(config.head_dim, 10);
  EXPECT_EQ(config.vocab_size, 61);
  EXPECT_EQ(config.max_position_embeddings, 64);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.eos_token_ids, std::vector<std::int32_t>{2});
  EXPECT_EQ(config.raw, tiny_config());
  EXPECT_FALSE(config.qkv_bias || config.output_bias || config.mlp_bias || config.qk_norm);
}

TEST(ModelConfig, AbsentKeysHaveTheValuesOfTransformers) {
  Json json = tiny_config();
  for (const char* key : {"num_key_value_heads", "head_dim", "rms_norm_eps", "eos_token_id",
                          "tie_word_embeddings", "max_position_embeddings"}) {
    json.erase(key);
  }
  const ModelConfig config = ModelConfig::parse(json, "x");
  EXPECT_EQ(config.num_key_value_heads, 6);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.ropes[0].theta, 10000.0);
  EXPECT_TRUE(config.eos_token_ids.empty());
}

TEST(ModelConfig, FamiliesDifferAsInTransformers) {
  Json json = tiny_config();
  const auto parse = [&](const char* architecture) {
    json["architectures"] = Json::array({architecture});
    return ModelConfig::parse(json, "x");
  };
  const ModelConfig qwen2 = parse("Qwen2ForCausalLM");
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.output_bias || qwen2.qk_norm);
  const ModelConfig qwen3 = parse("Qwen3ForCausalLM");
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_FALSE(qwen3.qkv_bias);
  json.erase("head_dim");
  EXPECT_EQ(parse("Qwen3ForCausalLM").head_dim, 128);
  json["attention_bias"] = true;
  json["mlp_bias"] = true;
  const ModelConfig llama = parse("LlamaForCausalLM");
  EXPECT_TRUE(llama.qkv_bias && llama.output_bias && llama.mlp_bias);
  EXPECT_FALSE(parse("MistralForCausalLM").qkv_bias);
}

TEST(ModelConfig, SlidingWindowCountsOnlyWhereTheFamilyUsesIt) {
  Json json = tiny_config();
  json["max_window_layers"] = 0;
  const auto window = [&](const char* architecture) {
    json["architectures"] = Json::array({architecture});
    return ModelConfig::parse(json, "x").layer_kinds[0].window;
  };
  // transformers gives a Mistral that does not say otherwise a window of 4096.
  EXPECT_EQ(window("MistralForCausalLM"), 4096);
  json["sliding_window"] = nullptr;
  EXPECT_EQ(window("MistralForCausalLM"), 0);
  json["sliding_window"] = 32;
  EXPECT_EQ(window("MistralForCausalLM"), 32);
  EXPECT_EQ(window("LlamaForCausalLM"), 0);
  EXPECT_EQ(window("Qwen2ForCausalLM"), 0);
  json["use_sliding_window"] = true;
  EXPECT_EQ(window("Qwen2ForCausalLM"), 32);
  EXPECT_EQ(window("Qwen3ForCausalLM"), 32);
  EXPECT_EQ(window("Phi3ForCausalLM"), 32);
  EXPECT_EQ(window("GemmaForCausalLM"), 0);
  json["sliding_window"] = nullptr;
  EXPECT_EQ(window("Qwen2ForCausalLM"), 0);
}

TEST(ModelConfig, LayersDifferAsTheFamilyOrTheFileSays) {
  Json json = tiny_config();
  json["num_hidden_layers"] = 4;
  json["sliding_window"] = 8;
  const auto windows = [&](const char* architecture) {
    json["architectures"] = Json::array({architecture});
    std::vector<std::int64_t> out;
    for (const LayerKind& kind : ModelConfig::parse(json, "x").layer_kinds) {
      out.push_back(kind.window);
    }
    return out;
  };
  using Windows = std::vector<std::int64_t>;
  EXPECT_EQ(windows("Gemma2ForCausalLM"), (Windows{8, 0, 8, 0}));
  EXPECT_EQ(windows("Gemma3ForCausalLM"), (Windows{8, 8, 8, 8}));
  json["sliding_window_pattern"] = 3;
  EXPECT_EQ(windows("Gemma3ForCausalLM"), (Windows{8, 8, 0, 8}));
  json["use_sliding_window"] = true;
  json["max_window_layers"] = 3;
  EXPECT_EQ(windows("Qwen2ForCausalLM"), (Windows{0, 0, 0, 8}));
  const char* full = "full_attention";
  const char* sliding = "sliding_attention";
  json["layer_types"] = {full, sliding, full, full};
  EXPECT_EQ(windows("Qwen3ForCausalLM"), (Windows{0, 8, 0, 0}));
  EXPECT_EQ(windows("Gemma2ForCausalLM"), (Windows{0, 8, 0, 0}));
  json["layer_types"] = {full, sliding, full};
  EXPECT_NE(refusal(json).find("a list of 4 types"), std::string::npos) << refusal(json);
  json["layer_types"] = {full, "chunked_attention", full, full};
  EXPECT_NE(refusal(json).find("\"chunked_attention\""), std::string::npos) << refusal(json);
  json["layer_types"] = {full, sliding, full, full};
  json["sliding_window"] = nullptr;
  EXPECT_NE(refusal(json).find("sliding_window"), std::string::npos) << refusal(json);
}

TEST(ModelConfig, GemmasScaleCapAndNormDifferently) {
  Json json = tiny_config();
  json.erase("tie_word_embeddings");
  json.erase("head_dim");
  const auto parse = [&](const char* architecture) {
    json["architectures"] = Json::array({architecture});
    return ModelConfig::parse(json, "x");
  };
  for (const char* name : {"GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"}) {
    const ModelConfig gemma = parse(name);
    EXPECT_TRUE(gemma.tie_word_embeddings);
    EXPECT_EQ(gemma.head_dim, 256);
    EXPECT_EQ(gemma.activation, Activation::kGeluTanh);
    EXPECT_EQ(gemma.norm_offset, 1.0);
    EXPECT_DOUBLE_EQ(gemma.embedding_scale, std::sqrt(24.0));
    EXPECT_DOUBLE_EQ(gemma.attention_scale, 1.0 / 16.0);
    EXPECT_EQ(gemma.post_norms, std::string(name) != "GemmaForCausalLM");
    EXPECT_EQ(gemma.qk_norm, std::string(name) == "Gemma3ForCausalLM");
  }
  EXPECT_EQ(parse("Gemma2ForCausalLM").attention_softcap, 50.0);
  EXPECT_EQ(parse("Gemma2ForCausalLM").logit_softcap, 30.0);
  EXPECT_EQ(parse("Gemma3ForCausalLM").logit_softcap, 0.0);
  json["query_pre_attn_scalar"] = 100;
  json["attn_logit_softcapping"] = nullptr;
  json["final_logit_softcapping"] = 7.0;
  EXPECT_DOUBLE_EQ(parse("Gemma2ForCausalLM").attention_scale, 0.1);
  EXPECT_EQ(parse("Gemma2ForCausalLM").attention_softcap, 0.0);
  EXPECT_EQ(parse("Gemma3ForCausalLM").logit_softcap, 7.0);
  json["attn_logit_softcapping"] = 50.0;
  EXPECT_NE(refusal(json).find("attn_logit_softcapping"), std::string::npos) << refusal(json);
  json.erase("attn_logit_softcapping");
  json["use_bidirectional_attention"] = true;
  EXPECT_NE(refusal(json).find("use_bidirectional_attention"), std::string::npos);
  json.erase("use_bidirectional_attention");
  json["hidden_activation"] = "relu";
  EXPECT_NE(refusal(json).find("'relu'"), std::string::npos) << refusal(json);
}

TEST(ModelConfig, OtherArchitecturesAreRefusedByName) {
  expect_refused("architectures", Json::array({"MixtralForCausalLM"}), "'MixtralForCausalLM'");
  expect_refused("architectures", Json::array({"MixtralForCausalLM"}), "Qwen3ForCausalLM");
  expect_refused("architectures", Json::array(), "got []");
  expect_refused("architectures", Json::array({"LlamaForCausalLM", "LlamaForCausalLM"}),
                 "one architecture");
  expect_refused("architectures", "LlamaForCausalLM", "a list with one architecture");
  expect_refused("architectures", nullptr, "got nothing");
  EXPECT_NE(refusal(Json::object()).find("architectures: got nothing"), std::string::npos);
  EXPECT_NE(refusal(Json::array()).find("here/config.json"), std::string::npos);
}

TEST(ModelConfig, QuantizedModelsAreRefusedByName) {
  expect_refused("quantization_config", {{"quant_method", "gptq"}}, "gptq");
}

TEST(ModelConfig, SizesMustFitEachOther) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size"}) {
    expect_refused(key, nullptr, std::string(key) + ": got nothing");
    expect_refused(key, 0, std::string(key) + ": got 0");
    expect_refused(key, -4, std::string(key) + ": got -4");
    expect_refused(key, 2.5, std::string(key) + ": got 2.5");
    expect_refused(key, "6", key);
  }
  expect_refused("num_key_value_heads", 4, "a divisor of num_attention_heads 6");
  expect_refused("head_dim", 9, "head_dim: got 9");
  expect_refused("head_dim", 514, "at most 512");
  Json config = tiny_config();
  config.erase("head_dim");
  config["hidden_size"] = 25;
  EXPECT_NE(refusal(config).find("a divisor of hidden_size 25"), std::string::npos);
  expect_refused("hidden_act", "gelu", "'gelu'");
  expect_refused("tie_word_embeddings", "yes", "true or false");
  expect_refused("eos_token_id", "</s>", "eos_token_id");
}

TEST(ModelConfig, GenerationConfigNamesTheEndTokens) {
  const TempFolder folder;
  EXPECT_NE(message_of<DataError>([&] {
              ModelConfig::load(folder.file("none"));
            }).find("got no such folder"),
            std::string::npos);
  EXPECT_THROW(ModelConfig::load(folder.file("")), DataError);
  folder.write("config.json", tiny_config().dump());
  EXPECT_EQ(ModelConfig::load(folder.file("")).eos_token_ids, std::vector<std::int32_t>{2});
  folder.write("generation_config.json", R"({"eos_token_id": [7, 9]})");
  EXPECT_EQ(ModelConfig::load(folder.file("")).eos_token_ids, (std::vector<std::int32_t>{7, 9}));
  folder.write("generation_config.json", "{");
  EXPECT_THROW(ModelConfig::load(folder.file("")), DataError);
  folder.write("config.json", "[1]");
  EXPECT_THROW(ModelConfig::load(folder.file("")), DataError);
}

}  // namespace
}  // namespace limbic::model
