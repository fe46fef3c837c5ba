// The decoder against transformers and peft, family by family, by the fused kernels and by the ATen
// formulas: golden/make_golden.py made the files. LIMBIC_GOLDEN names another folder of them.
#include "trainer/model/decoder.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/temp_folder.h"
#include "trainer/generation/generator.h"
#include "trainer/model/lora.h"
#include "trainer/model/peft/adapter_check.h"
#include "trainer/model/weights.h"
#include "trainer/tensor/safetensors.h"

namespace limbic {
namespace {

using Case = std::tuple<const char*, Math>;

class DecoderParity : public ::testing::TestWithParam<Case> {
 protected:
  std::string folder() const {
    const char* other = std::getenv("LIMBIC_GOLDEN");
    return std::string(other != nullptr ? other : LIMBIC_SOURCE_DIR "/tests/parity/golden") + "/" +
           std::get<0>(GetParam());
  }
  SafetensorsFile golden() const { return SafetensorsFile::open(folder() + "/golden.safetensors"); }

  model::Decoder load(model::WeightUse use, at::ScalarType type = at::kFloat) const {
    model::Decoder decoder(model::ModelConfig::load(folder()), type, at::kCPU,
                           std::get<1>(GetParam()));
    model::load_weights(decoder, folder(), use);
    return decoder;
  }

  // All sequences packed into one batch.
  model::PackedTokens batch(const SafetensorsFile& file) const {
    const at::Tensor ids = file.tensor("ids");
    const at::Tensor lengths = file.tensor("lengths");
    std::vector<std::span<const std::int32_t>> sequences;
    std::int64_t at = 0;
    for (std::int64_t s = 0; s < lengths.numel(); ++s) {
      const auto length = lengths[s].item<std::int64_t>();
      sequences.emplace_back(ids.data_ptr<std::int32_t>() + at, static_cast<std::size_t>(length));
      at += length;
    }
    return generation::pack(sequences, at::kCPU);
  }

  struct Scored {
    at::Tensor logprobs;  // of every token but the first of each sequence
    at::Tensor loss;
  };
  Scored score(const model::Decoder& decoder, const SafetensorsFile& file) const {
    const model::PackedTokens packed = batch(file);
    std::vector<std::int64_t> sources;
    for (std::size_t s = 0; s + 1 < packed.offsets.size(); ++s) {
      for (std::int64_t t = packed.offsets[s]; t + 1 < packed.offsets[s + 1]; ++t)
        sources.push_back(t);
    }
    const at::Tensor rows = at::tensor(sources);
    const at::Tensor hidden = decoder.hidden(packed, {});
    const auto scores =
        decoder.scores(hidden.index_select(0, rows), packed.tokens.index_select(0, rows + 1));
    const at::Tensor mask = file.tensor("mask").index_select(0, rows + 1).to(at::kFloat);
    return {scores.logprobs, -(scores.logprobs * mask).sum() / mask.sum()};
  }

  static std::int64_t adapted_modules(const model::Decoder& decoder) {
    std::int64_t count = 0;
    for (const model::Layer& layer : decoder.layers()) {
      for (const model::Linear* linear : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) {
        for (const model::LinearPart& part : linear->parts) count += part.rank > 0 ? 1 : 0;
      }
    }
    return count;
  }

  static double difference(const at::Tensor& a, const at::Tensor& b) {
    return (a.detach() - b).abs().max().item<double>();
  }
  static double relative(const at::Tensor& a, const at::Tensor& b) {
    return ((a - b).norm() / b.norm().clamp_min(1e-12)).item<double>();
  }
};

TEST_P(DecoderParity, LogprobsLossAndEveryGradientAgreeWithTransformers) {
  const SafetensorsFile file = golden();
  model::Decoder decoder = load(model::WeightUse::kTrained);
  const Scored scored = score(decoder, file);
  EXPECT_LT(difference(scored.logprobs, file.tensor("logprobs")), 1e-4);
  EXPECT_LT(difference(scored.loss, file.tensor("loss")[0]), 1e-5);
  scored.loss.backward();
  const NamedTensors gradients = model::export_gradients(decoder);
  std::size_t expected = 0;
  for (const std::string& name : file.names()) expected += name.starts_with("grad.") ? 1 : 0;
  EXPECT_EQ(gradients.size(), expected);
  for (const NamedTensor& item : gradients) {
    EXPECT_LT(relative(item.tensor, file.tensor("grad." + item.name)), 1e-4) << item.name;
  }
}

TEST_P(DecoderParity, AdaptersAgreeWithPeft) {
  const SafetensorsFile file = golden();
  model::Decoder decoder = load(model::WeightUse::kFrozen);
  model::load_adapter(decoder, folder() + "/adapter", true);
  const Scored scored = score(decoder, file);
  EXPECT_LT(difference(scored.logprobs, file.tensor("lora.logprobs")), 1e-4);
  scored.loss.backward();
  const NamedTensors gradients = model::export_adapter_gradients(decoder);
  std::size_t expected = 0;
  for (const std::string& name : file.names()) expected += name.starts_with("lora.grad.") ? 1 : 0;
  EXPECT_EQ(gradients.size(), expected);
  for (const NamedTensor& item : gradients) {
    EXPECT_LT(relative(item.tensor, file.tensor("lora.grad." + item.name)), 1e-4) << item.name;
  }
}

// What is read and saved again has the tensors of the file that peft wrote.
TEST_P(DecoderParity, SavedAdaptersHaveTheTensorsOfPeft) {
  model::Decoder decoder = load(model::WeightUse::kFrozen);
  const model::LoraConfig config = model::load_adapter(decoder, folder() + "/adapter", false);
  const test::TempFolder saved;
  model::save_adapter(decoder, config, saved.file(""), "base");
  const auto theirs = SafetensorsFile::open(folder() + "/adapter/adapter_model.safetensors");
  const auto ours = SafetensorsFile::open(saved.file("adapter_model.safetensors"));
  EXPECT_EQ(ours.names().size(), theirs.names().size());
  for (const std::string& name : theirs.names()) {
    ASSERT_TRUE(ours.contains(name)) << name;
    EXPECT_TRUE(at::equal(ours.tensor(name), theirs.tensor(name))) << name;
  }
  EXPECT_TRUE(model::check_adapter(model::ModelConfig::load(folder()), saved.file(""),
                                   model::AdapterTarget::kPeft)
                  .usable());
}

TEST_P(DecoderParity, MergedWeightsScoreLikeTheAdapter) {
  const SafetensorsFile file = golden();
  model::Decoder adapted = load(model::WeightUse::kFrozen);
  model::load_adapter(adapted, folder() + "/adapter", false);
  model::MergeReport report;
  const NamedTensors merged = model::merged_weights(adapted, report);
  EXPECT_EQ(report.modules, adapted_modules(adapted));
  model::Decoder plain = load(model::WeightUse::kTrained);
  const NamedTensors own = model::export_weights(plain);
  {
    at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < own.size(); ++i) {
      at::Tensor target = own[i].tensor;
      target.copy_(merged[i].tensor);
    }
  }
  plain.refresh_compute();
  EXPECT_LT(difference(score(plain, file).logprobs, file.tensor("lora.logprobs")), 1e-4);
}

TEST_P(DecoderParity, GreedyTokensAreThoseOfTransformers) {
  const SafetensorsFile file = golden();
  const model::Decoder decoder = load(model::WeightUse::kFrozen);
  const at::Tensor ids = file.tensor("ids");
  const at::Tensor lengths = file.tensor("lengths");
  const std::int32_t* second = ids.data_ptr<std::int32_t>() + lengths[0].item<std::int64_t>();
  const std::vector<std::int32_t> prompt(second, second + lengths[1].item<std::int64_t>());
  const std::vector<std::int32_t> beside(prompt.rbegin(), prompt.rend());
  const at::Tensor greedy = file.tensor("greedy");
  const std::vector<std::int32_t> expected(greedy.data_ptr<std::int32_t>(),
                                           greedy.data_ptr<std::int32_t>() + greedy.numel());
  generation::GenerationConfig config;
  config.sampling.temperature = 0.0;
  config.max_new_tokens = greedy.numel();
  config.group = 2;
  const auto out = generation::generate(decoder, {{prompt, 1}, {beside, 2}}, config);
  EXPECT_EQ(out[0][0].ids, expected);
  EXPECT_EQ(out[0][1].ids, expected);
}

TEST_P(DecoderParity, Bfloat16StaysNearFloat32) {
  const SafetensorsFile file = golden();
  const model::Decoder decoder = load(model::WeightUse::kFrozen, at::kBFloat16);
  // 8 bits of mantissa through two layers of weights that are 10 times larger than usual.
  EXPECT_LT(difference(score(decoder, file).logprobs, file.tensor("logprobs")), 0.5);
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  const auto& [family, math] = info.param;
  return std::string(family) + (math == Math::kKernels ? "" : "_aten");
}
INSTANTIATE_TEST_SUITE_P(Families, DecoderParity,
                         ::testing::Combine(::testing::Values("llama", "mistral", "qwen2", "qwen3",
                                                              "phi3", "gemma", "gemma2", "gemma3"),
                                            ::testing::Values(Math::kKernels, Math::kAten)),
                         name_of);

}  // namespace
}  // namespace limbic
