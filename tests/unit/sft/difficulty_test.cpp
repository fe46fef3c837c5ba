#include "trainer/sft/difficulty.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/test_run.h"
#include "trainer/engine/encode_rows.h"

namespace limbic::sft {
namespace {

using engine::TestRun;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr engine::LengthRule kShort{.limit = 8, .overlong = engine::Overlong::kDrop};

// The second row is too long for kShort.
const std::vector<std::string> kRows = {
    R"({"text": "abc", "hard": 2.5})", R"({"text": "abcdefghijkl", "hard": 1})",
    R"({"text": "zz", "hard": -1})", R"({"text": "hello", "hard": 0})",
    R"({"text": "aaaaaa", "hard": 1e3})"};

std::vector<double> difficulty(TestRun& run, const std::string& source,
                               const std::vector<std::string>& rows = kRows) {
  run.add_dataset("d", rows);
  const data::Mixture mixture = engine::mixture_of(run.context, {"d"});
  const auto examples = engine::encode_examples(run.context, mixture, kShort, {});
  return difficulty_of(run.context, mixture, examples, {.difficulty = source});
}

class DifficultyTest : public testing::Test {
 protected:
  test::TempFolder folder_;
  std::unique_ptr<parallel::Communicator> local_ = parallel::make_local();
  TestRun run_{*local_, folder_.file("run")};
};

TEST_F(DifficultyTest, AColumnFollowsTheRowsThatAreLeft) {
  EXPECT_THAT(difficulty(run_, "column:hard"), ElementsAre(2.5, -1.0, 0.0, 1000.0));
}

TEST_F(DifficultyTest, LengthCountsTokens) {
  EXPECT_THAT(difficulty(run_, "length"), ElementsAre(4, 3, 6, 7));  // with the end of sequence
}

// The first row is too long. One speaker alone: (0 + 1) / (1 + 1); two who shift
// from joy to sad: (0.4 + 2) / (2 + 2).
TEST_F(DifficultyTest, EmotionShiftsFollowTheRowsThatAreLeft) {
  run_.add_dataset("d", {R"({"text": "abcdefghijkl", "labels": ["sad"], "speakers": [1]})",
                         R"({"text": "a", "labels": ["joy", "sad"], "speakers": [1, 2]})",
                         R"({"text": "b", "labels": ["sad"], "speakers": [1]})"});
  const data::Mixture mixture = engine::mixture_of(run_.context, {"d"});
  const auto examples = engine::encode_examples(run_.context, mixture, kShort, {});
  EXPECT_THAT(
      difficulty_of(run_.context, mixture, examples,
                    {.difficulty = "emotion_shifts",
                     .emotion_shifts = data::EmotionShiftConfig{.emotions = {"joy", "sad"}}}),
      ElementsAre(0.6, 0.5));
}

TEST_F(DifficultyTest, AColumnWithoutANumberIsNamed) {
  const std::string message = test::message_of<DataError>([&] {
    difficulty(run_, "column:hard",
               {R"({"text": "a", "hard": 1})", R"({"text": "a", "hard": "1"})"});
  });
  EXPECT_THAT(message, HasSubstr("d.jsonl:2: "));
  EXPECT_THAT(message, HasSubstr("'hard'"));
}

// The mean negative log-likelihood of the targets, each document by itself.
double loss_by_hand(const model::Decoder& decoder, const std::vector<std::int32_t>& ids) {
  const at::NoGradGuard no_grad;
  const auto length = static_cast<std::int64_t>(ids.size());
  const auto options = at::TensorOptions().dtype(at::kInt);
  const at::Tensor hidden = decoder.hidden({.tokens = at::tensor(ids, options),
                                            .positions = at::arange(length, options),
                                            .offsets = {0, length}},
                                           {});
  const at::Tensor logprobs = decoder.logits(hidden).to(at::kDouble).log_softmax(-1);
  double sum = 0.0;
  for (std::int64_t t = 1; t < length; ++t) {
    sum -= logprobs[t - 1][ids[static_cast<std::size_t>(t)]].item<double>();
  }
  return sum / static_cast<double>(length - 1);
}

TEST_F(DifficultyTest, LossIsTheMeanOverTheTargets) {
  const auto got = difficulty(run_, "loss");
  ASSERT_EQ(got.size(), 4u);
  const char* texts[] = {"abc</s>", "zz</s>", "hello</s>", "aaaaaa</s>"};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(got[i], loss_by_hand(run_.decoder, run_.tokenizer.encode(texts[i])), 1e-5);
  }
}

TEST_F(DifficultyTest, LossIsTheSameBitForBitInEveryWorld) {
  const auto want = difficulty(run_, "loss");
  for (const int ranks : {2, 3, 6}) {  // of six ranks two have no example
    parallel::run_ranks(ranks, [&](parallel::Communicator& c) {
      TestRun run(c, folder_.file("run"));
      EXPECT_EQ(difficulty(run, "loss"), want);
    });
  }
}

}  // namespace
}  // namespace limbic::sft
