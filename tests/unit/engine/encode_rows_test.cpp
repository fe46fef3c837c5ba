#include "trainer/engine/encode_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/test_run.h"

namespace limbic::engine {
namespace {

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kChat =
    R"({"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}]})";
constexpr const char* kText = R"({"text": "hello"})";

class EncodeRows : public testing::Test {
 protected:
  data::Mixture mixture(const std::vector<std::string>& lines) {
    const std::string name = "d" + std::to_string(count_++);
    file_ = run_.add_dataset(name, lines);
    return mixture_of(run_.context, {name});
  }
  std::vector<data::Example> examples(const std::vector<std::string>& lines, LengthRule rule,
                                      MaskRule mask = {}) {
    return encode_examples(run_.context, mixture(lines), rule, mask);
  }
  std::vector<PromptRow> prompts(const std::vector<std::string>& lines, LengthRule rule) {
    return encode_prompts(run_.context, mixture(lines), rule);
  }
  std::string decoded(const std::vector<std::int32_t>& ids) const {
    return run_.tokenizer.decode(ids, false);
  }
  // The tokens with mask 1.
  std::string targets_of(const data::Example& example) const {
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < example.ids.size(); ++i) {
      if (example.loss_mask[i] == 1) ids.push_back(example.ids[i]);
    }
    return decoded(ids);
  }

  test::TempFolder folder_;
  std::unique_ptr<parallel::Communicator> local_ = parallel::make_local();
  TestRun run_{*local_, folder_.file("run")};
  std::string file_;
  int count_ = 0;
};

TEST_F(EncodeRows, ToolsOfTheRowReachTheTemplate) {
  run_.chat_template = data::ChatTemplate::parse(
      std::string("{% if tools %}{{ tools[0].name }} {% endif %}{{ mood }}") + kChatMl, "t",
      Json::object());
  const std::string turn = R"({"messages": [{"role": "user", "content": "ab"}])";
  const auto got =
      prompts({turn + R"(, "tools": [{"name": "look"}], "chat_template_kwargs": {"mood": "calm"}})",
               turn + R"(, "tools": "[{\"name\": \"find\"}]"})", turn + R"(, "tools": null})"},
              {1000});
  ASSERT_EQ(got.size(), 3u);
  EXPECT_THAT(decoded(got[0].ids), StartsWith("look calm<|im_start|>user"));
  EXPECT_THAT(decoded(got[1].ids), StartsWith("find <|im_start|>user"));
  EXPECT_THAT(decoded(got[2].ids), StartsWith("<|im_start|>user"));
  EXPECT_THAT(message_of<DataError>([&] { prompts({turn + R"(, "tools": "look"})"}, {1000}); }),
              HasSubstr(".jsonl:1: got the string \"look\" in 'tools', want a list"));
}

TEST_F(EncodeRows, AConversationTeachesTheAssistantsTurns) {
  const auto got = examples(
      {R"({"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}, )"
       R"({"role": "user", "content": "d"}, {"role": "assistant", "content": "ef"}]})"},
      {1000});
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(decoded(got[0].ids),
            "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n"
            "<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\nef<|im_end|>\n");
  EXPECT_EQ(targets_of(got[0]), "c<|im_end|>ef<|im_end|>");
}

TEST_F(EncodeRows, OrTheLastOfThem) {
  const auto got = examples(
      {R"({"messages": [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}, )"
       R"({"role": "user", "content": "d"}, {"role": "assistant", "content": "ef"}]})",
       kChat},
      {1000}, {.turns = data::Turns::kLast});
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(targets_of(got[0]), "ef<|im_end|>");
  EXPECT_EQ(targets_of(got[1]), "c<|im_end|>");
}

TEST_F(EncodeRows, ATemplateThatMarksEverythingIsRefused) {
  run_.chat_template = data::ChatTemplate::parse(
      "{% generation %}{% for m in messages %}{{ m.content }}{% endfor %}{% endgeneration %}",
      "all.jinja", Json::object());
  const std::string message = message_of<DataError>([&] { examples({kChat}, {1000}); });
  EXPECT_THAT(message, StartsWith(file_ + ":1: got a chat template that marks every token"));
  EXPECT_THAT(message, HasSubstr("assistant_only_loss: false"));
  EXPECT_EQ(targets_of(examples({kChat}, {1000}, {.assistant_only = false})[0]), "bc");
}

TEST_F(EncodeRows, OrEveryTokenButTheFirst) {
  const auto got = examples({kChat, kText}, {1000}, {.assistant_only = false});
  for (const auto& example : got) {
    EXPECT_EQ(example.loss_mask[0], 0);
    EXPECT_EQ(std::accumulate(example.loss_mask.begin(), example.loss_mask.end(), 0u) + 1,
              example.ids.size());
  }
}

TEST_F(EncodeRows, ATextRowEndsWithTheEndOfSequence) {
  const auto got = examples({kText}, {1000});
  EXPECT_EQ(decoded(got[0].ids), "hello</s>");
  EXPECT_EQ(targets_of(got[0]), "ello</s>");
}

TEST_F(EncodeRows, RowsKeepTheirPlaceInTheMixture) {
  const std::vector<std::string> lines = {kText, R"({"text": "abcdefghij"})", R"({"text": "ab"})"};
  const auto got = examples(lines, {6, Overlong::kDrop});
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].row, 0);
  EXPECT_EQ(got[1].row, 2);
}

TEST_F(EncodeRows, AnOverlongRowIsNamed) {
  const std::string message = message_of<DataError>([&] {
    examples({kText, R"({"text": "abcdef"})"}, {6});
  });
  EXPECT_THAT(message, StartsWith(file_ + ":2: got 7 tokens, want at most max_length 6"));
}

TEST_F(EncodeRows, OverlongRowsAreCutOnEitherSide) {
  const std::string line = R"({"text": "abcdef"})";
  const auto left = examples({line}, {4, Overlong::kTruncateLeft});
  EXPECT_EQ(decoded(left[0].ids), "def</s>");
  EXPECT_EQ(targets_of(left[0]), "ef</s>");
  const auto right = examples({line}, {4, Overlong::kTruncateRight});
  EXPECT_EQ(decoded(right[0].ids), "abcd");
  EXPECT_EQ(targets_of(right[0]), "bcd");
}

TEST_F(EncodeRows, ARowCutToNoTargetIsLeftOut) {
  const auto got = examples({kChat, kText}, {6, Overlong::kTruncateRight});
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].row, 1);
}

TEST_F(EncodeRows, NothingLeftIsADataError) {
  EXPECT_THAT(message_of<DataError>([&] {
                examples({kText, kText}, {5, Overlong::kDrop});
              }),
              HasSubstr("stage: got 2 rows, all longer than 5 tokens"));
  EXPECT_THAT(message_of<DataError>([&] {
                prompts({kText, kText}, {4, Overlong::kDrop});
              }),
              HasSubstr("stage: got 2 rows, all longer than 4 tokens"));
}

TEST_F(EncodeRows, ARowWithNothingToLearnIsNamed) {
  // Only an end of sequence: it cannot be predicted from anything.
  const std::string message = message_of<DataError>([&] {
    examples({kText, R"({"text": ""})"}, {9});
  });
  EXPECT_THAT(message, StartsWith(file_ + ":2: "));
}

TEST_F(EncodeRows, WhateverTheTemplateSaysHasThePlaceOfTheRow) {
  run_.chat_template = data::ChatTemplate::parse(
      "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}" +
          std::string(kChatMl),
      "strict.jinja", Json::object());
  const std::string line =
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "ab"}, )"
      R"({"role": "assistant", "content": "c"}]})";
  for (const bool prompt : {false, true}) {
    const std::string message = message_of<DataError>([&] {
      if (prompt) {
        prompts({kChat, line}, {100});
      } else {
        examples({kChat, line}, {100});
      }
    });
    EXPECT_THAT(message, StartsWith(file_ + ":2: "));
    EXPECT_THAT(message, HasSubstr("no system here"));
  }
}

// The message must not depend on which thread was first.
TEST_F(EncodeRows, TheFirstBadRowIsTheOneNamed) {
  std::vector<std::string> lines(200, kText);
  for (const std::size_t bad : {50u, 51u, 120u, 199u}) lines[bad] = R"({"text": "abcdefghij"})";
  std::string message = message_of<DataError>([&] { examples(lines, {6}); });
  EXPECT_THAT(message, StartsWith(file_ + ":51: "));
  message = message_of<DataError>([&] { prompts(lines, {6}); });
  EXPECT_THAT(message, StartsWith(file_ + ":51: "));
}

TEST_F(EncodeRows, PromptsEndWhereTheAssistantBegins) {
  const auto got = prompts({kChat, kText, R"({"prompt": "ab", "completion": "c"})"}, {1000});
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(decoded(got[0].ids), "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(got[0].messages, Json::parse(R"([{"role": "user", "content": "ab"}])"));
  EXPECT_EQ(decoded(got[1].ids), "hello");
  EXPECT_EQ(got[1].messages, "hello");
  EXPECT_EQ(got[2].ids, got[0].ids);
  EXPECT_EQ(got[2].row, 2);
}

TEST_F(EncodeRows, OverlongPromptsFollowTheRule) {
  const std::vector<std::string> lines = {kText, R"({"text": "abc"})"};
  const std::string message = message_of<DataError>([&] { prompts(lines, {4}); });
  EXPECT_THAT(message, StartsWith(file_ + ":1: got a prompt of 5 tokens, want at most 4"));
  EXPECT_EQ(decoded(prompts(lines, {4, Overlong::kTruncateLeft})[0].ids), "ello");
  EXPECT_EQ(decoded(prompts(lines, {4, Overlong::kTruncateRight})[0].ids), "hell");
  const auto dropped = prompts(lines, {4, Overlong::kDrop});
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0].row, 1);
  for (const auto rule : {Overlong::kTruncateLeft, Overlong::kTruncateRight, Overlong::kDrop}) {
    EXPECT_THROW(prompts(lines, {0, rule}), ConfigError);
  }
}

TEST_F(EncodeRows, AnEmptyPromptIsNamed) {
  const std::string message = message_of<DataError>([&] {
    prompts({kText, R"({"text": ""})"}, {9});
  });
  EXPECT_THAT(message, StartsWith(file_ + ":2: "));
}

TEST_F(EncodeRows, RepliesAreLearnedBehindPromptsThatStay) {
  run_.chat_template = data::ChatTemplate::parse("{{ messages | length }}", "t", Json::object());
  const auto rows = mixture({R"({"messages": [{"role": "user", "content": "ab"}]})"});
  EXPECT_EQ(decoded(encode_prompts(run_.context, rows, {9}).at(0).ids), "1");
  EXPECT_THAT(
      message_of<DataError>([&] { encode_prompts(run_.context, rows, {9}, PromptUse::kLearn); }),
      StartsWith(file_ + ":1: t: got a template that is not prefix-preserving"));
}

TEST_F(EncodeRows, DatasetsAreMixedInTheirOrder) {
  run_.add_dataset("a", {R"({"text": "aa"})"});
  run_.add_dataset("b", {R"({"text": "bb"})", R"({"text": "cc"})"});
  const auto got = encode_prompts(run_.context, mixture_of(run_.context, {"b", "a", "b"}), {1000});
  std::vector<std::string> texts;
  for (const auto& prompt : got) texts.push_back(decoded(prompt.ids));
  EXPECT_THAT(texts, ElementsAre("bb", "cc", "aa", "bb", "cc"));
}

}  // namespace
}  // namespace limbic::engine
