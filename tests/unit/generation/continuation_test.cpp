#include "trainer/generation/continuation.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_model.h"
#include "trainer/base/error.h"
#include "trainer/model/lora.h"

namespace limbic::generation {
namespace {

using model::tiny_config;
using model::tiny_model;

// One forward pass over prompt and continuation, log-softmax in float64.
double full_forward(const model::Decoder& decoder, const std::vector<std::int32_t>& prompt,
                    const std::vector<std::int32_t>& continuation, bool use_adapter = true) {
  const at::NoGradGuard no_grad;
  std::vector<std::int32_t> ids = prompt;
  ids.insert(ids.end(), continuation.begin(), continuation.end());
  const auto length = static_cast<std::int64_t>(ids.size());
  const auto options = at::TensorOptions().dtype(at::kInt);
  const at::Tensor hidden = decoder.hidden({.tokens = at::tensor(ids, options),
                                            .positions = at::arange(length, options),
                                            .offsets = {0, length}},
                                           {.use_adapter = use_adapter});
  const at::Tensor logprobs = decoder.logits(hidden).to(at::kDouble).log_softmax(-1);
  double sum = 0.0;
  for (std::size_t t = prompt.size(); t < ids.size(); ++t) {
    sum += logprobs[static_cast<std::int64_t>(t) - 1][ids[t]].item<double>();
  }
  return sum;
}

const std::vector<Question>& questions() {
  static const std::vector<Question> kQuestions = {{{3, 9, 27, 20}, {{5}, {6, 7, 8}, {5, 1}}},
                                                   {{8}, {{60, 59, 58, 57, 56}, {0}, {8, 8}}},
                                                   {{1, 2, 3, 4, 5, 6, 7}, {{9}, {9}, {10}}},
                                                   {{40, 41}, {{1, 2}, {1, 2, 3}, {1, 2, 3, 4}}},
                                                   {{2, 0}, {{2}, {2, 2}, {0, 2, 0}}}};
  return kQuestions;
}

void expect_full_forward(const model::Decoder& decoder, std::int64_t max_batch, bool use_adapter,
                         double tolerance) {
  const auto got = score_continuations(decoder, questions(), max_batch, use_adapter);
  ASSERT_EQ(got.size(), questions().size());
  for (std::size_t q = 0; q < got.size(); ++q) {
    ASSERT_EQ(got[q].size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      const double want = full_forward(decoder, questions()[q].prompt,
                                       questions()[q].continuations[i], use_adapter);
      EXPECT_NEAR(got[q][i], want, tolerance) << "question " << q << ", continuation " << i;
    }
  }
}

TEST(ScoreContinuations, EqualsTheFullForwardPassForEveryBatch) {
  const model::Decoder decoder = tiny_model();
  for (const std::int64_t max_batch : {1, 3, 4, 6, 100}) {
    expect_full_forward(decoder, max_batch, true, 1e-4);
  }
}

TEST(ScoreContinuations, InBfloat16) {
  expect_full_forward(tiny_model(model::WeightUse::kFrozen, at::kBFloat16), 6, true, 0.5);
}

TEST(ScoreContinuations, WithAndWithoutTheAdapter) {
  model::Decoder decoder = tiny_model();
  model::attach_lora(decoder, {.r = 4, .alpha = 8.0}, 1, false);
  for (const NamedTensor& tensor : model::export_adapter(decoder)) {
    at::Tensor values = tensor.tensor;
    values.add_(0.1);  // B begins at zero
  }
  expect_full_forward(decoder, 100, true, 1e-4);
  expect_full_forward(decoder, 100, false, 1e-4);
  const auto with = score_continuations(decoder, questions(), 100, true);
  EXPECT_NE(with, score_continuations(decoder, questions(), 100, false));
}

TEST(ScoreContinuations, QuestionsDoNotSeeEachOther) {
  const model::Decoder decoder = tiny_model();
  const auto together = score_continuations(decoder, questions(), 100, true);
  for (std::size_t q = 0; q < questions().size(); ++q) {
    const auto alone = score_continuations(decoder, std::span(&questions()[q], 1), 100, true);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(alone[0][i], together[q][i], 1e-4);
  }
}

TEST(ScoreContinuations, NoQuestionsNoAnswers) {
  EXPECT_TRUE(score_continuations(tiny_model(), {}, 8, true).empty());
}

TEST(ScoreContinuations, TheModelsPositionsAreTheLimit) {
  const model::Decoder decoder = tiny_model();  // 64 positions
  Question question{std::vector<std::int32_t>(60, 7), {{1}, {1, 2, 3, 4}}};
  EXPECT_NEAR(score_continuations(decoder, std::span(&question, 1), 8, true)[0][1],
              full_forward(decoder, question.prompt, question.continuations[1]), 1e-4);
  question.prompt.push_back(7);
  const std::string message = test::message_of<DataError>(
      [&] { score_continuations(decoder, std::span(&question, 1), 8, true); });
  EXPECT_NE(message.find("65 tokens"), std::string::npos) << message;
  EXPECT_NE(message.find("64 positions"), std::string::npos) << message;
}

TEST(ScoreContinuations, MistakesOfTheCaller) {
  const model::Decoder decoder = tiny_model();
  const std::vector<Question> uneven = {{{1}, {{2}, {3}}}, {{1}, {{2}}}};
  EXPECT_THROW(score_continuations(decoder, uneven, 8, true), std::logic_error);
  const std::vector<Question> empty = {{{1}, {{2}, {}}}};
  EXPECT_THROW(score_continuations(decoder, empty, 8, true), std::logic_error);
}

}  // namespace
}  // namespace limbic::generation
