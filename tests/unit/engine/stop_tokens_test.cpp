#include "trainer/engine/stop_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/test_run.h"

namespace limbic::engine {
namespace {

using testing::ElementsAre;

std::vector<std::int32_t> stops_of(const std::string& chat_template, const Json& model_eos) {
  const test::TempFolder folder;
  const data::Tokenizer tokenizer = letter_tokenizer(folder);
  Json config = model::tiny_config();
  config["eos_token_id"] = model_eos;
  return stop_tokens(model::ModelConfig::parse(config, "tiny"), tokenizer,
                     data::ChatTemplate::parse(chat_template, "test.jinja", Json::object()));
}

TEST(StopTokens, AreThoseOfModelTokenizerAndTemplate) {
  EXPECT_THAT(stops_of(kChatMl, 2), ElementsAre(2, kTurnEnd, kEndOfSequence));
  EXPECT_THAT(stops_of(kChatMl, {60, 2}), ElementsAre(2, kTurnEnd, kEndOfSequence, 60));
  EXPECT_THAT(stops_of(kChatMl, {kEndOfSequence, kTurnEnd}), ElementsAre(kTurnEnd, kEndOfSequence));
}

TEST(StopTokens, ATurnThatEndsWithoutASpecialTokenAddsNone) {
  EXPECT_THAT(stops_of("{% for m in messages %}{{ m.role }} {{ m.content }}\n{% endfor %}", 2),
              ElementsAre(2, kEndOfSequence));
}

TEST(StopTokens, ATemplateThatWantsOtherMessagesAddsNone) {
  EXPECT_THAT(stops_of("{{ raise_exception('a system message must come first') }}", 2),
              ElementsAre(2, kEndOfSequence));
}

TEST(StopTokens, OfARunAreTheSame) {
  const test::TempFolder folder;
  const auto local = parallel::make_local();
  const TestRun run(*local, folder.file("run"));
  EXPECT_THAT(stop_tokens(run.context), ElementsAre(2, kTurnEnd, kEndOfSequence));
}

TEST(CompletionText, LeavesTheStopTokenOut) {
  const test::TempFolder folder;
  const data::Tokenizer tokenizer = letter_tokenizer(folder);
  generation::Completion completion;
  completion.ids = {7, 8, 26, kTurnBegin, 0, kTurnEnd};
  completion.stopped = true;
  EXPECT_EQ(completion_text(tokenizer, completion, true), "hi a");
  EXPECT_EQ(completion_text(tokenizer, completion, false), "hi <|im_start|>a");
  completion.stopped = false;
  EXPECT_EQ(completion_text(tokenizer, completion, false), "hi <|im_start|>a<|im_end|>");
  completion = {};
  completion.ids = {kTurnEnd};
  completion.stopped = true;
  EXPECT_EQ(completion_text(tokenizer, completion, true), "");
}

}  // namespace
}  // namespace limbic::engine
