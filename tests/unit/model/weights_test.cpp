#include "trainer/model/weights.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/tensor/safetensors.h"

namespace limbic::model {
namespace {

using test::message_of;
using test::TempFolder;

constexpr const char* kQuery = "model.layers.1.self_attn.q_proj.weight";

std::size_t place_of(const NamedTensors& tensors, const std::string& name) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].name == name) return i;
  }
  ADD_FAILURE() << "no tensor " << name;
  return 0;
}

// Loads `tensors` as a model folder; the message of the DataError, or "no error".
std::string refusal(const NamedTensors& tensors, const Json& config = tiny_config()) {
  const TempFolder folder;
  write_safetensors(folder.file("model.safetensors"), tensors);
  Decoder decoder(ModelConfig::parse(config, "tiny"), at::kFloat, at::kCPU);
  return message_of<DataError>([&] { load_weights(decoder, folder.file(""), WeightUse::kFrozen); });
}

void expect_part(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << "want '" << part << "' in: " << message;
}

TEST(Weights, SavedAndLoadedAreTheSame) {
  Json tied = tiny_config();
  tied["tie_word_embeddings"] = true;
  Json biased = tiny_config();
  biased["attention_bias"] = true;
  biased["mlp_bias"] = true;
  Json qwen = tiny_config();
  qwen["architectures"] = Json::array({"Qwen3ForCausalLM"});
  for (const Json& config : {tiny_config(), tied, biased, qwen}) {
    for (const WeightUse use : {WeightUse::kTrained, WeightUse::kFrozen}) {
      const Decoder decoder = tiny_model(use, at::kFloat, config);
      const NamedTensors saved = export_weights(decoder);
      const TempFolder folder;
      write_safetensors(folder.file("model.safetensors"), saved);
      Decoder other(ModelConfig::parse(config, "tiny"), at::kFloat, at::kCPU);
      load_weights(other, folder.file(""), use);
      const NamedTensors loaded = export_weights(other);
      ASSERT_EQ(loaded.size(), saved.size());
      for (std::size_t i = 0; i < saved.size(); ++i) {
        EXPECT_EQ(loaded[i].name, saved[i].name);
        EXPECT_TRUE(at::equal(loaded[i].tensor, saved[i].tensor)) << saved[i].name;
      }
      EXPECT_EQ(other.trained_leaves().empty(), use == WeightUse::kFrozen);
    }
  }
}

TEST(Weights, ShardsAreReadThroughTheirIndex) {
  const Decoder decoder = tiny_model();
  const NamedTensors all = export_weights(decoder);
  const TempFolder folder;
  Json map = Json::object();
  NamedTensors halves[2];
  for (std::size_t i = 0; i < all.size(); ++i) {
    halves[i % 2].push_back(all[i]);
    map[all[i].name] = i % 2 == 0 ? "0.safetensors" : "1.safetensors";
  }
  write_safetensors(folder.file("0.safetensors"), halves[0]);
  write_safetensors(folder.file("1.safetensors"), halves[1]);
  folder.write("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  Decoder other(ModelConfig::parse(tiny_config(), "tiny"), at::kFloat, at::kCPU);
  load_weights(other, folder.file(""), WeightUse::kFrozen);
  const NamedTensors loaded = export_weights(other);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(at::equal(loaded[i].tensor, all[i].tensor)) << all[i].name;
  }
}

TEST(Weights, OtherFloatTypesAreConverted) {
  const Decoder decoder = tiny_model();
  NamedTensors halves = export_weights(decoder);
  for (NamedTensor& item : halves) item.tensor = item.tensor.to(at::kBFloat16);
  const TempFolder folder;
  write_safetensors(folder.file("model.safetensors"), halves);
  Decoder other(ModelConfig::parse(tiny_config(), "tiny"), at::kFloat, at::kCPU);
  load_weights(other, folder.file(""), WeightUse::kFrozen);
  const NamedTensors loaded = export_weights(other);
  for (std::size_t i = 0; i < halves.size(); ++i) {
    EXPECT_TRUE(at::equal(loaded[i].tensor, halves[i].tensor.to(at::kFloat))) << halves[i].name;
  }
}

TEST(Weights, MissingTensorIsNamedWithItsShape) {
  NamedTensors tensors = export_weights(tiny_model());
  const auto place = static_cast<std::ptrdiff_t>(place_of(tensors, kQuery));
  tensors.erase(tensors.begin() + place);
  const std::string message = refusal(tensors);
  expect_part(message, std::string("got no tensor '") + kQuery + "'");
  expect_part(message, "60 x 24");
}

TEST(Weights, WrongShapeIsNamed) {
  NamedTensors tensors = export_weights(tiny_model());
  at::Tensor& query = tensors[place_of(tensors, kQuery)].tensor;
  query = query.t().contiguous();
  expect_part(refusal(tensors), std::string(kQuery) + ": got shape 24 x 60, want 60 x 24");
}

TEST(Weights, ForeignTensorIsNamed) {
  NamedTensors tensors = export_weights(tiny_model());
  tensors.push_back({"model.layers.2.mlp.up_proj.weight", at::ones({36, 24})});
  expect_part(refusal(tensors), "foreign tensor 'model.layers.2.mlp.up_proj.weight'");
  tensors.back() = {"model.layers.0.self_attn.q_proj.bias", at::ones({60})};
  expect_part(refusal(tensors), "q_proj.bias");
  tensors.back() = {"model.layers.0.self_attn.rotary_emb.inv_freq", at::ones({5})};
  EXPECT_EQ(refusal(tensors), "no error");
}

TEST(Weights, AHeadBesideTiedEmbeddings) {
  Json tied = tiny_config();
  tied["tie_word_embeddings"] = true;
  NamedTensors tensors = export_weights(tiny_model(WeightUse::kFrozen, at::kFloat, tied));
  EXPECT_EQ(std::count_if(tensors.begin(), tensors.end(),
                          [](const NamedTensor& item) { return item.name == "lm_head.weight"; }),
            0);
  const std::size_t embedding = place_of(tensors, "model.embed_tokens.weight");
  tensors.push_back({"lm_head.weight", tensors[embedding].tensor.clone()});
  const TempFolder folder;
  folder.write("config.json", tied.dump());
  const auto is_tied = [&] {
    write_safetensors(folder.file("model.safetensors"), tensors);
    const ModelConfig config = read_model_config(folder.path());
    EXPECT_EQ(config.raw.at("tie_word_embeddings"), config.tie_word_embeddings);
    Decoder decoder(config, at::kFloat, at::kCPU);
    load_weights(decoder, folder.path(), WeightUse::kFrozen);
    EXPECT_TRUE(at::equal(decoder.logits(at::eye(24)).t(), tensors.back().tensor));
    return config.tie_word_embeddings;
  };
  EXPECT_TRUE(is_tied());
  EXPECT_EQ(refusal(tensors, tied), "no error");
  tensors.back().tensor = at::rand({61, 24});
  EXPECT_FALSE(is_tied());
  expect_part(refusal(tensors, tied), "lm_head.weight: got other values");
}

TEST(Weights, ATiedMatrixMayStandUnderTheNameOfTheHead) {
  Json tied = tiny_config();
  tied["tie_word_embeddings"] = true;
  NamedTensors tensors = export_weights(tiny_model(WeightUse::kFrozen, at::kFloat, tied));
  tensors[place_of(tensors, "model.embed_tokens.weight")].name = "lm_head.weight";
  EXPECT_EQ(refusal(tensors, tied), "no error");
}

// Capped logits too are divided behind the cap.
TEST(Decoder, ScoresAreOfTheTemperedDistribution) {
  Json gemma = tiny_config();
  gemma["architectures"] = Json::array({"Gemma2ForCausalLM"});
  gemma["final_logit_softcapping"] = 2.0;
  for (const Json& config : {tiny_config(), gemma}) {
    const Decoder decoder = tiny_model(WeightUse::kFrozen, at::kFloat, config);
    const at::Tensor hidden = at::linspace(-2, 2, 5 * 24).view({5, 24});
    const at::Tensor targets = at::arange(7, 12, at::kInt);
    const TokenScores scores = decoder.scores(hidden, targets, {}, true, 0.7);
    const at::Tensor logp = at::log_softmax(decoder.logits(hidden).to(at::kDouble) / 0.7, 1);
    const at::Tensor want = logp.gather(1, targets.to(at::kLong).unsqueeze(1)).squeeze(1);
    EXPECT_TRUE(at::allclose(scores.logprobs.to(at::kDouble), want, 1e-5, 1e-5));
    const at::Tensor entropy = -(logp.exp() * logp).sum(1);
    EXPECT_TRUE(at::allclose(scores.entropy.to(at::kDouble), entropy, 1e-5, 1e-5));
  }
}

TEST(Weights, WholeNumbersAreNoWeights) {
  NamedTensors tensors = export_weights(tiny_model());
  at::Tensor& query = tensors[place_of(tensors, kQuery)].tensor;
  query = query.to(at::kChar);
  const std::string message = refusal(tensors);
  expect_part(message, kQuery);
  expect_part(message, "floating point");
}

// float8 weights come with scales; read without them they would be silently wrong.
TEST(Weights, QuantizedFloatsAreRefused) {
  NamedTensors tensors = export_weights(tiny_model());
  at::Tensor& query = tensors[place_of(tensors, kQuery)].tensor;
  query = query.to(at::kFloat8_e4m3fn);
  expect_part(refusal(tensors), kQuery);
}

TEST(Weights, ValuesThatAreNotFiniteAreRefused) {
  NamedTensors tensors = export_weights(tiny_model());
  at::Tensor& query = tensors[place_of(tensors, kQuery)].tensor;
  for (const float value : {INFINITY, -INFINITY, NAN}) {
    query = query.clone();
    query[1][1] = value;
    const std::string message = refusal(tensors);
    expect_part(message, kQuery);
    expect_part(message, "not finite");
  }
}

TEST(Weights, DamagedFilesAreRefused) {
  const TempFolder folder;
  const std::string path = folder.file("model.safetensors");
  write_safetensors(path, export_weights(tiny_model()));
  const std::string whole = read_file(path);
  const auto load = [&](const std::string& content) {
    folder.write("model.safetensors", content);
    Decoder decoder(ModelConfig::parse(tiny_config(), "tiny"), at::kFloat, at::kCPU);
    return message_of<DataError>(
        [&] { load_weights(decoder, folder.file(""), WeightUse::kFrozen); });
  };
  EXPECT_EQ(load(whole), "no error");
  expect_part(load(whole.substr(0, whole.size() - 100)), "truncated");
  expect_part(load(whole.substr(0, 100)), "a header of");
  expect_part(load(""), "broken safetensors file");
}

TEST(Weights, InitialValuesDependOnSeedAndNameAlone) {
  const NamedTensors one = export_weights(tiny_model());
  const NamedTensors same = export_weights(tiny_model());
  const NamedTensors other =
      export_weights(tiny_model(WeightUse::kFrozen, at::kFloat, tiny_config(), 6));
  Json shallow = tiny_config();
  shallow["num_hidden_layers"] = 1;
  const NamedTensors fewer = export_weights(tiny_model(WeightUse::kFrozen, at::kFloat, shallow));
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_TRUE(at::equal(one[i].tensor, same[i].tensor));
    if (one[i].tensor.dim() == 2) {
      EXPECT_FALSE(at::equal(one[i].tensor, other[i].tensor)) << one[i].name;
    } else {
      EXPECT_TRUE(at::equal(one[i].tensor, at::ones_like(one[i].tensor)));
    }
  }
  for (const NamedTensor& item : fewer) {
    EXPECT_TRUE(at::equal(item.tensor, one[place_of(one, item.name)].tensor)) << item.name;
  }
  EXPECT_NEAR(one[0].tensor.std().item<double>(), 0.2, 0.02);
}

TEST(Weights, ComputeCopiesFollowTheLeaves) {
  Decoder decoder = tiny_model(WeightUse::kTrained, at::kBFloat16);
  for (const TrainedLeaf& leaf : decoder.trained_leaves()) {
    EXPECT_EQ(leaf.tensor.scalar_type(), at::kFloat) << leaf.name;
    EXPECT_TRUE(leaf.tensor.is_leaf() && leaf.tensor.requires_grad()) << leaf.name;
  }
  Linear& down = decoder.layers()[0].down;
  EXPECT_TRUE(at::equal(down.compute, down.weight.detach().to(at::kBFloat16)));
  const void* memory = down.compute.data_ptr();
  {
    at::NoGradGuard no_grad;
    down.weight.add_(1.0);
  }
  decoder.refresh_compute();
  EXPECT_TRUE(at::equal(down.compute, down.weight.detach().to(at::kBFloat16)));
  EXPECT_EQ(down.compute.data_ptr(), memory);
  const Decoder wide = tiny_model(WeightUse::kTrained);
  EXPECT_EQ(wide.layers()[0].down.compute.data_ptr(), wide.layers()[0].down.weight.data_ptr());
}

}  // namespace
}  // namespace limbic::model
