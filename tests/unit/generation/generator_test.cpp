#include "trainer/generation/generator.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "trainer/base/error.h"
#include "trainer/model/lora.h"

namespace limbic::generation {
namespace {

using model::tiny_config;
using model::tiny_model;

const std::vector<Prompt>& prompts() {
  static const std::vector<Prompt> kPrompts = {
      {{3, 9, 27, 20, 5}, 1}, {{8}, 2}, {{1, 2, 3, 4, 5, 6, 7, 8, 9}, 3}, {{60, 0, 60}, 4}};
  return kPrompts;
}

GenerationConfig config_of(std::int64_t max_new_tokens, std::int64_t group,
                           std::vector<std::int32_t> stop_tokens = {}) {
  GenerationConfig config;
  config.max_new_tokens = max_new_tokens;
  config.group = group;
  config.stop_tokens = std::move(stop_tokens);
  return config;
}

void expect_same(const Completion& got, const Completion& want) {
  EXPECT_EQ(got.ids, want.ids);
  EXPECT_EQ(got.stopped, want.stopped);
  ASSERT_EQ(got.logprobs.size(), want.logprobs.size());
  for (std::size_t i = 0; i < want.logprobs.size(); ++i) {
    EXPECT_NEAR(got.logprobs[i], want.logprobs[i], 1e-5);
    EXPECT_NEAR(got.sampling_logprobs[i], want.sampling_logprobs[i], 1e-5);
  }
}

TEST(Generate, GroupSharesItsPromptYetEqualsGenerationOneByOne) {
  const model::Decoder decoder = tiny_model();
  GenerationConfig config = config_of(12, 4, {2, 17, 40});
  const auto together = generate(decoder, prompts(), config);
  ASSERT_EQ(together.size(), prompts().size());
  for (std::size_t p = 0; p < prompts().size(); ++p) {
    const auto alone = generate(decoder, {prompts()[p]}, config);
    ASSERT_EQ(together[p].size(), 4u);
    for (std::size_t g = 0; g < 4; ++g) expect_same(together[p][g], alone[0][g]);
  }
  // The first of a group is what a group of one gives.
  config.group = 1;
  const auto single = generate(decoder, prompts(), config);
  for (std::size_t p = 0; p < prompts().size(); ++p) expect_same(single[p][0], together[p][0]);
  EXPECT_NE(together[0][0].ids, together[0][1].ids);
}

TEST(Generate, DoesNotDependOnMaxBatchNorOnTheOrderOfPrompts) {
  const model::Decoder decoder = tiny_model();
  GenerationConfig config = config_of(10, 3, {2, 17});
  const auto all = generate(decoder, prompts(), config);
  for (const std::int64_t max_batch : {1, 6, 7, 11}) {
    config.max_batch = max_batch;
    const auto waves = generate(decoder, prompts(), config);
    for (std::size_t p = 0; p < all.size(); ++p) {
      for (std::size_t g = 0; g < 3; ++g) expect_same(waves[p][g], all[p][g]);
    }
  }
  const std::vector<Prompt> reversed(prompts().rbegin(), prompts().rend());
  config.max_batch = 256;
  const auto backwards = generate(decoder, reversed, config);
  for (std::size_t p = 0; p < all.size(); ++p) {
    for (std::size_t g = 0; g < 3; ++g) expect_same(backwards[all.size() - 1 - p][g], all[p][g]);
  }
}

// What generation returns is what training computes for the same tokens.
void expect_logprobs_of_training(const model::Decoder& decoder, bool use_adapter) {
  const GenerationConfig config{.sampling = {.temperature = 0.8, .top_p = 0.95},
                                .max_new_tokens = 14,
                                .group = 2,
                                .stop_tokens = {17},
                                .use_adapter = use_adapter};
  const auto out = generate(decoder, prompts(), config);
  for (std::size_t p = 0; p < out.size(); ++p) {
    for (const Completion& completion : out[p]) {
      std::vector<std::int32_t> ids = prompts()[p].ids;
      const auto start = static_cast<std::int64_t>(ids.size());
      ids.insert(ids.end(), completion.ids.begin(), completion.ids.end());
      const at::Tensor hidden = decoder.hidden(pack({ids}, at::kCPU), {.use_adapter = use_adapter})
                                    .slice(0, start - 1, static_cast<std::int64_t>(ids.size()) - 1);
      const auto scores =
          decoder.scores(hidden, at::tensor(completion.ids, at::TensorOptions().dtype(at::kInt)));
      const at::Tensor got = at::tensor(completion.logprobs);
      EXPECT_LT((got - scores.logprobs).abs().max().item<double>(), 1e-4);
    }
  }
}

TEST(Generate, LogprobsAreThoseOfTraining) {
  expect_logprobs_of_training(tiny_model(), true);
  Json qwen = tiny_config();
  qwen["architectures"] = Json::array({"Qwen3ForCausalLM"});
  qwen["tie_word_embeddings"] = true;
  expect_logprobs_of_training(tiny_model(model::WeightUse::kFrozen, at::kFloat, qwen), true);
}

// Windows shorter than the prompts, than the completions and than both.
TEST(Generate, LogprobsAreThoseOfTrainingInEveryFamily) {
  for (const std::int64_t window : {2, 5, 40}) {
    for (const char* name : {"MistralForCausalLM", "Phi3ForCausalLM", "GemmaForCausalLM",
                             "Gemma2ForCausalLM", "Gemma3ForCausalLM"}) {
      SCOPED_TRACE(name);
      Json config = tiny_config();
      config["architectures"] = Json::array({name});
      config["sliding_window"] = window;
      config["sliding_window_pattern"] = 2;
      if (std::string(name) == "Gemma2ForCausalLM") config["attn_logit_softcapping"] = 1.5;
      expect_logprobs_of_training(tiny_model(model::WeightUse::kFrozen, at::kFloat, config), true);
    }
  }
}

TEST(Generate, AdapterIsUsedOrLeftOut) {
  model::Decoder decoder = tiny_model();
  GenerationConfig greedy = config_of(12, 1);
  greedy.sampling.temperature = 0.0;
  const auto base = generate(decoder, prompts(), greedy);
  model::attach_lora(decoder, {.r = 2}, 3, false);
  for (const NamedTensor& item : model::export_adapter(decoder)) {
    at::Tensor tensor = item.tensor;
    tensor.uniform_(-0.3, 0.3, at::detail::createCPUGenerator(8));
  }
  expect_logprobs_of_training(decoder, true);
  expect_logprobs_of_training(decoder, false);
  GenerationConfig without = greedy;
  without.use_adapter = false;
  const auto switched_off = generate(decoder, prompts(), without);
  const auto adapted = generate(decoder, prompts(), greedy);
  bool changed = false;
  for (std::size_t p = 0; p < base.size(); ++p) {
    EXPECT_EQ(switched_off[p][0].ids, base[p][0].ids);
    changed = changed || adapted[p][0].ids != base[p][0].ids;
  }
  EXPECT_TRUE(changed);
}

TEST(Generate, StopTokenEndsACompletionAndIsKept) {
  const model::Decoder decoder = tiny_model();
  GenerationConfig config = config_of(20, 6);
  const auto free = generate(decoder, prompts(), config);
  config.stop_tokens = {free[0][0].ids[4], free[1][2].ids[0]};
  const auto stopped = generate(decoder, prompts(), config);
  const auto is_stop = [&](std::int32_t token) {
    return token == config.stop_tokens[0] || token == config.stop_tokens[1];
  };
  bool ran_on = false;
  for (std::size_t p = 0; p < free.size(); ++p) {
    for (std::size_t g = 0; g < 6; ++g) {
      const auto& whole = free[p][g].ids;
      ASSERT_EQ(whole.size(), 20u);
      EXPECT_FALSE(free[p][g].stopped);
      const auto first = std::find_if(whole.begin(), whole.end(), is_stop);
      const auto end = first == whole.end() ? first : first + 1;
      EXPECT_EQ(stopped[p][g].ids, std::vector<std::int32_t>(whole.begin(), end));
      EXPECT_EQ(stopped[p][g].stopped, first != whole.end());
      EXPECT_EQ(stopped[p][g].logprobs.size(), stopped[p][g].ids.size());
      ran_on = ran_on || first == whole.end();
    }
  }
  EXPECT_TRUE(ran_on);
  EXPECT_EQ(stopped[1][2].ids.size(), 1u);
  config.ignore_stop = true;
  const auto ignored = generate(decoder, prompts(), config);
  for (std::size_t p = 0; p < free.size(); ++p) {
    for (std::size_t g = 0; g < 6; ++g) {
      EXPECT_EQ(ignored[p][g].ids, free[p][g].ids);
      EXPECT_FALSE(ignored[p][g].stopped);
    }
  }
}

TEST(Generate, OneNewTokenNeedsNoDecodeStep) {
  const auto out = generate(tiny_model(), prompts(), config_of(1, 2));
  for (const auto& group : out) {
    for (const Completion& completion : group) EXPECT_EQ(completion.ids.size(), 1u);
  }
}

TEST(Generate, SinkSeesEveryTokenAndMayStopEverything) {
  const model::Decoder decoder = tiny_model();
  const GenerationConfig config = config_of(8, 2, {17});
  std::vector<std::vector<std::vector<std::int32_t>>> seen(
      prompts().size(), std::vector<std::vector<std::int32_t>>(2));
  const auto out = generate(decoder, prompts(), config,
                            [&](std::size_t prompt, std::size_t index, std::int32_t token) {
                              seen[prompt][index].push_back(token);
                              return true;
                            });
  for (std::size_t p = 0; p < out.size(); ++p) {
    for (std::size_t g = 0; g < 2; ++g) EXPECT_EQ(seen[p][g], out[p][g].ids);
  }
  int calls = 0;
  const auto cut = generate(decoder, prompts(), config,
                            [&](std::size_t, std::size_t, std::int32_t) { return ++calls < 11; });
  std::size_t tokens = 0;
  for (const auto& group : cut) {
    for (const Completion& completion : group) tokens += completion.ids.size();
  }
  EXPECT_GE(tokens, 11u);
  EXPECT_LE(tokens, 16u);  // the step that was under way is finished for the whole batch
}

TEST(Generate, PromptsThatDoNotFitAreRefused) {
  const model::Decoder decoder = tiny_model();
  const GenerationConfig config = config_of(10, 1);
  const auto run = [&](std::size_t length) {
    return test::message_of<DataError>([&] {
      generate(decoder, {{std::vector<std::int32_t>(length, 1), 1}}, config);
    });
  };
  EXPECT_EQ(run(54), "no error");
  const std::string message = run(55);
  EXPECT_NE(message.find("55 tokens"), std::string::npos) << message;
  EXPECT_NE(message.find("64"), std::string::npos) << message;
  EXPECT_NE(run(0).find("empty prompt"), std::string::npos);
}

// The cached keys of one rope do not go with tokens of another.
TEST(Generate, LongropeIsNotCrossed) {
  Json config = tiny_config();
  config["rope_scaling"] = {{"rope_type", "longrope"},
                            {"short_factor", {1, 1, 1, 1, 1}},
                            {"long_factor", {4, 4, 4, 4, 4}},
                            {"original_max_position_embeddings", 16}};
  const model::Decoder decoder = tiny_model(model::WeightUse::kFrozen, at::kFloat, config);
  const auto run = [&](std::size_t length) {
    return test::message_of<DataError>([&] {
      generate(decoder, {{std::vector<std::int32_t>(length, 1), 1}}, config_of(10, 1));
    });
  };
  EXPECT_EQ(run(6), "no error");
  EXPECT_EQ(run(17), "no error");
  EXPECT_NE(run(7).find("longrope"), std::string::npos) << run(7);
  EXPECT_NE(run(16).find("16 tokens that may grow to 26"), std::string::npos) << run(16);
  // Continuations of a shared prompt, in training and in decoding.
  const auto type = at::TensorOptions().dtype(at::kInt);
  EXPECT_THROW(
      decoder.hidden({.tokens = at::zeros({18}, type),
                      .positions = at::cat({at::arange(15, type), at::arange(15, 18, type)}),
                      .offsets = {0, 15, 18},
                      .families = {0, 2}},
                     {}),
      DataError);
  model::KeyValueCache cache(1, 8);
  decoder.prefill(pack({std::vector<std::int32_t>(16, 1)}, at::kCPU), {}, cache);
  EXPECT_THROW(decoder.decode(at::zeros({1}, type), {}, cache), DataError);
}

TEST(Generate, NoPromptsGiveNothing) { EXPECT_TRUE(generate(tiny_model(), {}, {}).empty()); }

}  // namespace
}  // namespace limbic::generation
