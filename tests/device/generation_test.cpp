// Cached decoding, sampling and the scoring of continuations on a device.
#include <gtest/gtest.h>

#include "tests/device/on_devices.h"
#include "trainer/generation/continuation.h"
#include "trainer/generation/generator.h"
#include "trainer/model/lora.h"

namespace limbic {
namespace {

using generation::Completion;
using generation::GenerationConfig;
using generation::Prompt;

class DeviceGeneration : public OnDevices {};
INSTANTIATE_TEST_SUITE_P(On, DeviceGeneration, ::testing::Values(Target::kCpuByAten, Target::kGpu),
                         name_of_target);

const std::vector<Prompt>& prompts() {
  static const std::vector<Prompt> kPrompts = {
      {{3, 9, 27, 20, 5}, 1}, {{8}, 2}, {{1, 2, 3, 4, 5, 6, 7, 8, 9}, 3}, {{60, 0, 60}, 4}};
  return kPrompts;
}

GenerationConfig config_of(std::int64_t max_new_tokens, std::int64_t group) {
  GenerationConfig config;
  config.max_new_tokens = max_new_tokens;
  config.group = group;
  return config;
}

void expect_same(const std::vector<std::vector<Completion>>& got,
                 const std::vector<std::vector<Completion>>& want, double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t p = 0; p < want.size(); ++p) {
    ASSERT_EQ(got[p].size(), want[p].size());
    for (std::size_t g = 0; g < want[p].size(); ++g) {
      EXPECT_EQ(got[p][g].ids, want[p][g].ids) << p << " " << g;
      EXPECT_EQ(got[p][g].stopped, want[p][g].stopped);
      ASSERT_EQ(got[p][g].logprobs.size(), want[p][g].logprobs.size());
      for (std::size_t i = 0; i < want[p][g].logprobs.size(); ++i) {
        EXPECT_NEAR(got[p][g].logprobs[i], want[p][g].logprobs[i], tolerance);
        EXPECT_NEAR(got[p][g].sampling_logprobs[i], want[p][g].sampling_logprobs[i], tolerance);
      }
    }
  }
}

// Stop tokens end the sequences one by one, so that the batch shrinks several times.
TEST_P(DeviceGeneration, CompletionsAreThoseOfTheKernels) {
  for (const Json& config : configs()) {
    const model::Decoder want = by_kernels(model::WeightUse::kFrozen, config);
    const model::Decoder got = on_device(model::WeightUse::kFrozen, config);
    for (const generation::SamplingConfig& sampling :
         {generation::SamplingConfig{.temperature = 0.0}, generation::SamplingConfig{},
          generation::SamplingConfig{.temperature = 0.8, .top_p = 0.9, .top_k = 20}}) {
      const GenerationConfig settings{.sampling = sampling,
                                      .max_new_tokens = 30,
                                      .group = 5,
                                      .stop_tokens = {2, 17, 40, 33, 8}};
      expect_same(generation::generate(got, prompts(), settings),
                  generation::generate(want, prompts(), settings), 10 * tolerance());
    }
  }
}

TEST_P(DeviceGeneration, AdapterIsUsedOrLeftOut) {
  model::Decoder want = by_kernels(model::WeightUse::kFrozen, configs()[0]);
  model::Decoder got = on_device(model::WeightUse::kFrozen, configs()[0]);
  for (model::Decoder* decoder : {&want, &got}) {
    model::attach_lora(*decoder, {.r = 2}, 3, false);
    for (const NamedTensor& item : model::export_adapter(*decoder)) {
      item.tensor.copy_(at::linspace(-0.3, 0.4, item.tensor.numel()).view(item.tensor.sizes()));
    }
  }
  for (const bool use_adapter : {true, false}) {
    GenerationConfig settings = config_of(12, 2);
    settings.use_adapter = use_adapter;
    expect_same(generation::generate(got, prompts(), settings),
                generation::generate(want, prompts(), settings), 10 * tolerance());
  }
}

TEST_P(DeviceGeneration, ContinuationsScoreAsByTheKernels) {
  const model::Decoder want = by_kernels(model::WeightUse::kFrozen, configs()[1]);
  const model::Decoder got = on_device(model::WeightUse::kFrozen, configs()[1]);
  const std::vector<generation::Question> questions = {
      {{3, 9, 27}, {{1}, {2, 3, 4, 5}, {6, 7}}},
      {{8, 8, 8, 8, 8, 8, 8}, {{9, 10, 11}, {12}, {60, 0, 60, 0, 60}}}};
  const auto wanted = generation::score_continuations(want, questions, 64, true);
  const auto scores = generation::score_continuations(got, questions, 64, true);
  for (std::size_t q = 0; q < wanted.size(); ++q) {
    for (std::size_t c = 0; c < wanted[q].size(); ++c) {
      EXPECT_NEAR(scores[q][c], wanted[q][c], 10 * tolerance());
    }
  }
}

// What is sampled is what training computes, in the type that GPUs compute in.
TEST_P(DeviceGeneration, Bfloat16LogprobsAreThoseOfTraining) {
  const model::Decoder decoder = on_device(model::WeightUse::kFrozen, configs()[2], at::kBFloat16);
  const auto out = generation::generate(decoder, prompts(), config_of(20, 3));
  double sum = 0.0;
  double count = 0.0;
  for (std::size_t p = 0; p < out.size(); ++p) {
    for (const Completion& completion : out[p]) {
      std::vector<std::int32_t> ids = prompts()[p].ids;
      const auto start = static_cast<std::int64_t>(ids.size());
      ids.insert(ids.end(), completion.ids.begin(), completion.ids.end());
      const at::Tensor hidden = decoder.hidden(generation::pack({ids}, device()), {})
                                    .slice(0, start - 1, static_cast<std::int64_t>(ids.size()) - 1);
      const at::Tensor targets = at::tensor(completion.ids, at::kInt).to(device());
      const at::Tensor gap =
          decoder.scores(hidden, targets).logprobs.cpu() - at::tensor(completion.logprobs);
      sum += gap.abs().sum().item<double>();
      count += static_cast<double>(completion.ids.size());
    }
  }
  EXPECT_LT(sum / count, 0.02);
}

}  // namespace
}  // namespace limbic
