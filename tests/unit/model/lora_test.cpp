#include "trainer/model/lora.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/yaml_config.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::model {
namespace {

using test::message_of;
using test::TempFolder;

PackedTokens some_tokens() {
  const auto type = at::TensorOptions().dtype(at::kInt);
  return {.tokens = at::tensor({5, 1, 60, 3, 3, 8, 9}, type),
          .positions = at::tensor({0, 1, 2, 3, 0, 1, 2}, type),
          .offsets = {0, 4, 7}};
}

at::Tensor hidden_of(const Decoder& decoder, bool use_adapter = true) {
  return decoder.hidden(some_tokens(), {.use_adapter = use_adapter}).detach();
}

// B is zero after attaching; give it values so that the adapter does something.
void fill(const Decoder& decoder) {
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
  for (const NamedTensor& item : export_adapter(decoder)) {
    at::Tensor tensor = item.tensor;
    tensor.uniform_(-0.2, 0.2, generator);
  }
}

// A folder with a filled adapter for q_proj and down_proj.
class SavedAdapter {
 public:
  SavedAdapter() : decoder_(tiny_model()) {
    attach_lora(decoder_, config_, 3, false);
    fill(decoder_);
    save_adapter(decoder_, config_, folder_.file(""), "some/base");
  }

  const Decoder& decoder() const { return decoder_; }
  const LoraConfig& config() const { return config_; }
  Json json() const { return Json::parse(read_file(folder_.file("adapter_config.json"))); }
  NamedTensors tensors() const { return export_adapter(decoder_); }
  std::string path() const { return folder_.file(""); }

  // Loads the folder with another config or other tensors onto a fresh model.
  std::string refusal(const std::string& config) const {
    folder_.write("adapter_config.json", config);
    return load();
  }
  std::string refusal(const char* key, const Json& value) const {
    Json changed = json();
    changed[key] = value;
    const std::string before = json().dump();
    const std::string message = refusal(changed.dump());
    folder_.write("adapter_config.json", before);
    return message;
  }
  std::string refusal(const NamedTensors& changed) const {
    write_safetensors(folder_.file("adapter_model.safetensors"), changed);
    return load();
  }

 private:
  std::string load() const {
    return message_of<DataError>([&] {
      Decoder fresh = tiny_model();
      load_adapter(fresh, folder_.file(""), false);
    });
  }

  TempFolder folder_;
  LoraConfig config_{.r = 3,
                     .alpha = 5.0,
                     .dropout = 0.1,
                     .target_modules = {"q_proj", "down_proj"},
                     .use_rslora = true};
  Decoder decoder_;
};

void expect_part(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << "want '" << part << "' in: " << message;
}

TEST(Lora, FreshAdapterChangesNothingAndIsTrainedAlone) {
  Decoder decoder = tiny_model();
  const at::Tensor base = hidden_of(decoder);
  attach_lora(decoder, {.r = 2}, 3, true);
  EXPECT_TRUE(at::equal(hidden_of(decoder), base));
  EXPECT_EQ(export_adapter(decoder).size(), 2u * 7u * 2u);
  EXPECT_EQ(decoder.trained_leaves().size(), 2u * 4u * 2u);
  for (const TrainedLeaf& leaf : decoder.trained_leaves()) {
    EXPECT_NE(leaf.name.find("lora_"), std::string::npos) << leaf.name;
  }
  fill(decoder);
  EXPECT_FALSE(at::allclose(hidden_of(decoder), base));
  EXPECT_TRUE(at::equal(hidden_of(decoder, false), base));
}

TEST(Lora, StartIsUniformWithinTheRootOfTheInputsAndSeeded) {
  Decoder one = tiny_model(), same = tiny_model(), other = tiny_model();
  attach_lora(one, {.r = 8}, 3, false);
  attach_lora(same, {.r = 8}, 3, false);
  attach_lora(other, {.r = 8}, 4, false);
  const NamedTensors a = export_adapter(one), b = export_adapter(same), c = export_adapter(other);
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(at::equal(a[i].tensor, b[i].tensor));
    if (a[i].name.ends_with("lora_B.weight")) {
      EXPECT_EQ(a[i].tensor.abs().max().item<float>(), 0.0f);
      continue;
    }
    EXPECT_FALSE(at::equal(a[i].tensor, c[i].tensor));
    const double bound = 1.0 / std::sqrt(static_cast<double>(a[i].tensor.size(1)));
    EXPECT_LE(a[i].tensor.abs().max().item<double>(), bound);
    EXPECT_GT(a[i].tensor.abs().max().item<double>(), 0.9 * bound);
  }
}

TEST(Lora, ScaleIsAlphaOverRankOrItsRoot) {
  EXPECT_DOUBLE_EQ((LoraConfig{.r = 4, .alpha = 6.0}).scale_of("x"), 1.5);
  EXPECT_DOUBLE_EQ((LoraConfig{.r = 4, .alpha = 6.0, .use_rslora = true}).scale_of("x"), 3.0);
}

TEST(Lora, TargetsAreWholeNamesOfModules) {
  Decoder decoder = tiny_model();
  attach_lora(decoder, {.r = 2, .target_modules = {"layers.1.self_attn.v_proj", "up_proj"}}, 3,
              true);
  std::vector<std::string> names;
  for (const NamedTensor& item : export_adapter(decoder)) names.push_back(item.name);
  const std::string prefix = "base_model.model.model.layers.";
  EXPECT_EQ(
      names,
      (std::vector<std::string>{
          prefix + "0.mlp.up_proj.lora_A.weight", prefix + "0.mlp.up_proj.lora_B.weight",
          prefix + "1.self_attn.v_proj.lora_A.weight", prefix + "1.self_attn.v_proj.lora_B.weight",
          prefix + "1.mlp.up_proj.lora_A.weight", prefix + "1.mlp.up_proj.lora_B.weight"}));
  for (const char* wrong : {"proj", "x_proj", "lm_head", ""}) {
    Decoder fresh = tiny_model();
    const std::string message = message_of<ConfigError>([&] {
      attach_lora(fresh, {.target_modules = {"q_proj", wrong}}, 3, true);
    });
    expect_part(message, "'" + std::string(wrong) + "'");
    expect_part(message, "gate_proj");
  }
}

TEST(Lora, SavedAndLoadedIsTheSameAdapter) {
  const SavedAdapter saved;
  Decoder fresh = tiny_model();
  const LoraConfig config = load_adapter(fresh, saved.path(), true);
  EXPECT_EQ(config.r, 3);
  EXPECT_EQ(config.alpha, 5.0);
  EXPECT_EQ(config.dropout, 0.1);
  EXPECT_TRUE(config.use_rslora);
  EXPECT_EQ(config.target_modules, (std::vector<std::string>{"down_proj", "q_proj"}));
  const NamedTensors loaded = export_adapter(fresh), original = saved.tensors();
  ASSERT_EQ(loaded.size(), original.size());
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    EXPECT_EQ(loaded[i].name, original[i].name);
    EXPECT_TRUE(at::equal(loaded[i].tensor, original[i].tensor));
  }
  at::NoGradGuard no_grad;  // no dropout
  EXPECT_TRUE(at::equal(hidden_of(fresh), hidden_of(saved.decoder())));
  EXPECT_EQ(saved.json().at("base_model_name_or_path"), "some/base");
}

// Targets that name modules of some layers only must come back as they were.
TEST(Lora, PartlyAdaptedModelSurvivesSavingAndLoading) {
  Decoder decoder = tiny_model();
  const LoraConfig config{.r = 2, .target_modules = {"layers.1.self_attn.v_proj"}};
  attach_lora(decoder, config, 3, false);
  fill(decoder);
  const TempFolder folder;
  save_adapter(decoder, config, folder.file(""), "base");
  Decoder fresh = tiny_model();
  load_adapter(fresh, folder.file(""), false);
  EXPECT_EQ(export_adapter(fresh).size(), 2u);
  EXPECT_TRUE(at::equal(hidden_of(fresh), hidden_of(decoder)));
}

TEST(Lora, TargetsMayBeRegularExpressionsOfWholeNames) {
  EXPECT_TRUE(is_target("model.layers.1.mlp.up_proj", ".*[.]1[.].*(up|down)_proj"));
  EXPECT_FALSE(is_target("model.layers.0.mlp.up_proj", ".*[.]1[.].*(up|down)_proj"));
  EXPECT_FALSE(is_target("model.layers.1.mlp.up_proj", "(up|down)_proj"));
  Decoder decoder = tiny_model();
  attach_lora(decoder, {.r = 2, .target_modules = {".*[.]1[.].*(up|down)_proj"}}, 3, false);
  EXPECT_EQ(export_adapter(decoder).size(), 4u);
}

// q_proj has rank 2 beside k_proj's 3 in one fused matrix, and layer 1 another alpha.
TEST(Lora, PatternsGiveModulesTheirOwnRankAndAlpha) {
  const LoraConfig config{.r = 3,
                          .alpha = 6.0,
                          .target_modules = {"q_proj", "k_proj"},
                          .rank_pattern = {{"q_proj", 2.0}},
                          .alpha_pattern = {{"layers.1.*", 9.0}, {"q_proj", 1.0}}};
  EXPECT_EQ(config.rank_of("model.layers.0.self_attn.q_proj"), 2);
  EXPECT_DOUBLE_EQ(config.scale_of("model.layers.0.self_attn.q_proj"), 0.5);
  EXPECT_DOUBLE_EQ(config.scale_of("model.layers.1.self_attn.q_proj"), 4.5);  // the first match
  EXPECT_DOUBLE_EQ(config.scale_of("model.layers.0.self_attn.k_proj"), 2.0);
  Decoder decoder = tiny_model();
  attach_lora(decoder, config, 3, true);
  fill(decoder);
  const TempFolder folder;
  save_adapter(decoder, config, folder.file(""), "base");
  Decoder fresh = tiny_model();
  const LoraConfig loaded = load_adapter(fresh, folder.file(""), true);
  EXPECT_EQ(loaded.rank_pattern, config.rank_pattern);
  EXPECT_EQ(loaded.alpha_pattern, config.alpha_pattern);
  EXPECT_TRUE(at::equal(hidden_of(fresh), hidden_of(decoder)));
  EXPECT_EQ(export_adapter(fresh)[0].tensor.sizes(), (std::vector<std::int64_t>{2, 24}));
  // By the formula: the merged model computes the same.
  MergeReport report;
  const NamedTensors merged = merged_weights(fresh, report);
  Decoder plain = tiny_model(WeightUse::kTrained);
  {
    at::NoGradGuard no_grad;
    const NamedTensors own = export_weights(plain);
    for (std::size_t i = 0; i < own.size(); ++i) {
      at::Tensor target = own[i].tensor;
      target.copy_(merged[i].tensor);
    }
  }
  EXPECT_LT((hidden_of(plain) - hidden_of(fresh)).abs().max().item<double>(), 1e-5);
  // What pads the lower rank is never trained.
  fresh.hidden(some_tokens(), {}).sum().backward();
  const Adapter& adapter = fresh.layers()[0].qkv.adapter;
  EXPECT_EQ(adapter.a.grad()[2].abs().max().item<float>(), 0.0f);
  EXPECT_EQ(adapter.b.grad().slice(0, 0, 60).slice(1, 2).abs().max().item<float>(), 0.0f);
  EXPECT_GT(adapter.b.grad().slice(0, 60).slice(1, 2).abs().max().item<float>(), 0.0f);
}

// embed_tokens and lm_head are trained as a whole beside the adapters; the base keeps its own.
TEST(Lora, SavedModulesReplaceThoseOfTheModel) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const LoraConfig config{
        .r = 2, .target_modules = {"q_proj"}, .modules_to_save = {"embed_tokens", "lm_head"}};
    Decoder decoder = tiny_model(WeightUse::kFrozen, type);
    const at::Tensor targets = at::tensor({1, 60, 3, 3, 3, 8, 9}, at::kInt);
    const auto logprobs = [&](const Decoder& model, bool adapted) {
      const at::Tensor hidden = model.hidden(some_tokens(), {.use_adapter = adapted});
      return model.scores(hidden, targets, {}, adapted).logprobs;
    };
    const at::Tensor base = logprobs(decoder, true);
    attach_lora(decoder, config, 3, true);
    EXPECT_EQ(decoder.trained_leaves().size(), 2u * 2u + 2u);
    EXPECT_TRUE(at::equal(logprobs(decoder, true), base));
    logprobs(decoder, true).sum().backward();
    EXPECT_GT(decoder.embedding.weight.grad().abs().max().item<float>(), 0.0f);
    EXPECT_GT(decoder.head.weight.grad().abs().max().item<float>(), 0.0f);
    EXPECT_EQ(export_adapter_gradients(decoder).back().name, "base_model.model.lm_head.weight");
    fill(decoder);  // the saved modules as well
    decoder.refresh_compute();
    EXPECT_TRUE(at::equal(logprobs(decoder, false), base));
    const at::Tensor adapted = logprobs(decoder, true).detach();
    EXPECT_FALSE(at::allclose(adapted, base));
    const TempFolder folder;
    save_adapter(decoder, config, folder.file(""), "base");
    for (const bool trained : {false, true}) {
      Decoder fresh = tiny_model(WeightUse::kFrozen, type);
      load_adapter(fresh, folder.file(""), trained);
      // Trained embeddings are read in float32, frozen ones in the compute type.
      EXPECT_LT((logprobs(fresh, true) - adapted).abs().max().item<double>(),
                type == at::kFloat ? 1e-6 : 0.1);
      EXPECT_TRUE(at::equal(logprobs(fresh, false), base));
    }
  }
  Json tied = tiny_config();
  tied["tie_word_embeddings"] = true;
  Decoder decoder = tiny_model(WeightUse::kFrozen, at::kFloat, tied);
  expect_part(message_of<ConfigError>(
                  [&] { attach_lora(decoder, {.modules_to_save = {"lm_head"}}, 3, true); }),
              "'lm_head' of tied embeddings");
}

TEST(Lora, OtherKindsOfAdapterAreRefused) {
  const SavedAdapter saved;
  expect_part(saved.refusal("peft_type", "IA3"), "peft_type: got \"IA3\"");
  expect_part(saved.refusal("peft_type", 3), "peft_type");
  expect_part(saved.refusal("use_dora", true), "use_dora: got true");
  expect_part(saved.refusal("fan_in_fan_out", true), "fan_in_fan_out");
  expect_part(saved.refusal("rank_pattern", {{"q_proj", 0}}), "rank_pattern");
  expect_part(saved.refusal("rank_pattern", {{"(q_proj", 2}}),
              "'(q_proj', want a name or a regular expression");
  expect_part(saved.refusal("rank_pattern", {{"q_proj", 8}}), "got shape 3 x 24, want 8 x 24");
  expect_part(saved.refusal("alpha_pattern", {{"q_proj", "much"}}), "alpha_pattern");
  expect_part(saved.refusal("modules_to_save", {"lm_head"}), "got no tensor");
  expect_part(saved.refusal("modules_to_save", {"norm"}), "modules_to_save: got 'norm'");
  expect_part(saved.refusal("exclude_modules", {"k_proj"}), "exclude_modules");
  expect_part(saved.refusal("layers_to_transform", {0}), "layers_to_transform");
  expect_part(saved.refusal("bias", "all"), "bias: got \"all\"");
  expect_part(saved.refusal("kasa_config", {{"beta", 1.0}}), "kasa_config");
  for (const char* start : {"pissa", "pissa_niter_16", "OLoRA", "corda", "loftq", "lora_ga"}) {
    expect_part(saved.refusal("init_lora_weights", start), "want one that leaves the base");
  }
  for (const Json& start : {Json(true), Json("gaussian"), Json("eva"), Json("orthogonal")}) {
    EXPECT_EQ(saved.refusal("init_lora_weights", start), "no error");
  }
  EXPECT_EQ(saved.refusal("modules_to_save", nullptr), "no error");
}

TEST(Lora, DamagedConfigIsRefusedNotCrashedOn) {
  const SavedAdapter saved;
  for (const char* key : {"r", "lora_alpha"}) {
    expect_part(saved.refusal(key, "three"), key);
    expect_part(saved.refusal(key, nullptr), key);
    expect_part(saved.refusal(key, 0), key);
    expect_part(saved.refusal(key, -3), key);
  }
  expect_part(saved.refusal("r", 5000), "from 1 to 4096");
  expect_part(saved.refusal("lora_dropout", "much"), "lora_dropout");
  expect_part(saved.refusal("lora_dropout", 1.5), "lora_dropout");
  expect_part(saved.refusal("use_rslora", 7), "use_rslora");
  expect_part(saved.refusal("target_modules", 5), "target_modules");
  expect_part(saved.refusal("target_modules", ".*x_proj"), "'.*x_proj'");
  expect_part(saved.refusal("target_modules", "(.*"), "'(.*', want a name or a regular expression");
  expect_part(saved.refusal("target_modules", {"q_proj", "[*"}), "'[*'");
  expect_part(saved.refusal("target_modules", {1, 2}), "target_modules");
  expect_part(saved.refusal("target_modules", {"x_proj"}), "'x_proj'");
  EXPECT_EQ(saved.refusal("target_modules", {"q_proj", "down_proj", "x_proj"}), "no error");
  expect_part(saved.refusal(std::string("{")), "broken JSON");
  expect_part(saved.refusal(std::string("[]")), "adapter_config.json");
}

TEST(Lora, TensorsMustFitTheModules) {
  const SavedAdapter saved;
  const NamedTensors whole = saved.tensors();
  NamedTensors changed(whole.begin() + 1, whole.end());
  expect_part(saved.refusal(changed), "got no tensor '" + whole[0].name + "'");
  changed = whole;
  changed[0].tensor = changed[0].tensor.slice(1, 1).contiguous();
  expect_part(saved.refusal(changed), whole[0].name + ": got shape 3 x 23, want 3 x 24");
  changed = whole;
  changed.push_back({"base_model.model.lm_head.lora_A.weight", at::ones({3, 24})});
  expect_part(saved.refusal(changed), "'base_model.model.lm_head.lora_A.weight'");
  expect_part(saved.refusal("r", 4), "got shape 3 x 24, want 4 x 24");
}

TEST(Lora, MissingFilesAreNamed) {
  const TempFolder folder;
  Decoder decoder = tiny_model();
  const auto load = [&] {
    return message_of<DataError>([&] { load_adapter(decoder, folder.file(""), false); });
  };
  expect_part(load(), "got no adapter_config.json");
  const SavedAdapter saved;
  folder.write("adapter_config.json", saved.json().dump());
  expect_part(load(), "adapter_model.safetensors");
}

TEST(Lora, GradientsHaveTheNamesAndShapesOfTheTensors) {
  Decoder decoder = tiny_model();
  attach_lora(decoder, {.r = 2, .target_modules = {"k_proj", "v_proj", "o_proj"}}, 3, true);
  fill(decoder);
  decoder.hidden(some_tokens(), {}).sum().backward();
  const NamedTensors tensors = export_adapter(decoder);
  const NamedTensors gradients = export_adapter_gradients(decoder);
  ASSERT_EQ(gradients.size(), tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(gradients[i].name, tensors[i].name);
    EXPECT_EQ(gradients[i].tensor.sizes(), tensors[i].tensor.sizes());
  }
}

TEST(Lora, MergedWeightsAreTheProductAdded) {
  const SavedAdapter saved;
  MergeReport report;
  const NamedTensors merged = merged_weights(saved.decoder(), report);
  const NamedTensors base = export_weights(saved.decoder());
  const NamedTensors adapter = saved.tensors();
  EXPECT_EQ(report.modules, 4);
  double largest = 0.0;
  std::size_t changed = 0;
  for (std::size_t i = 0; i < base.size(); ++i) {
    at::Tensor want = base[i].tensor;
    for (std::size_t j = 0; j < adapter.size(); j += 2) {
      const std::string module = adapter[j].name.substr(17, adapter[j].name.find(".lora_A") - 17);
      if (base[i].name != module + ".weight") continue;
      const at::Tensor delta =
          at::mm(adapter[j + 1].tensor, adapter[j].tensor) * (5.0 / std::sqrt(3.0));
      want = want + delta;
      largest = std::max(largest, delta.abs().max().item<double>());
      ++changed;
    }
    EXPECT_TRUE(at::allclose(merged[i].tensor, want, 1e-6, 1e-6)) << base[i].name;
  }
  EXPECT_EQ(changed, 4u);
  EXPECT_NEAR(report.largest_change, largest, 1e-6);
  EXPECT_GT(report.relative_change, 0.0);
  const Decoder narrow = tiny_model(WeightUse::kFrozen, at::kBFloat16);
  EXPECT_THROW(merged_weights(narrow, report), std::logic_error);
}

}  // namespace
}  // namespace limbic::model
