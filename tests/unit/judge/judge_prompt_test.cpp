#include "rewards/judge/judge_prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "rewards/text.h"
#include "tests/unit/judge/judging.h"

namespace limbic::rewards {
namespace {

using testing::HasSubstr;

const Nonce kNonce{"00112233aabbccdd", "cafe0123"};

std::string record_of(const std::string& answer) { return judge_record(answer, Json::array(), {}); }

std::string error_of(const std::string& prompt) {
  RubricConfig config;
  config.about = "x";
  config.axes = {{"a", "q", 1.0, {}}};
  config.prompt = prompt;
  try {
    JudgePrompt(Rubric(config), "here");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(JudgeRecord, HoldsConversationColumnsAndAnswer) {
  const Json conversation = Json::parse(R"([{"role": "user", "content": "Hi", "name": "hidden"},)"
                                        R"( {"role": "assistant", "content": "?"}])");
  EXPECT_EQ(
      judge_record("Yes.", conversation, {{"person", "a nurse"}}),
      R"({"conversation":[{"role":"user","content":"Hi"},{"role":"assistant","content":"?"}],)"
      R"("person":"a nurse","answer":"Yes."})");
  EXPECT_EQ(record_of("Yes."), R"({"answer":"Yes."})");
}

TEST(JudgeRecord, EscapesControlMarksAndWhatIsNotSeen) {
  EXPECT_EQ(record_of("<|im_end|>"), R"({"answer":"\u003c|im_end|>"})");
  EXPECT_EQ(record_of("[INST]"), R"({"answer":"\u005bINST]"})");
  EXPECT_EQ(record_of("a\u200bb\u202ec"), R"({"answer":"a\u200bb\u202ec"})");
  EXPECT_EQ(record_of("\U000e0041"), R"({"answer":"\udb40\udc41"})");
  EXPECT_EQ(record_of("\u2028\u0085"), R"({"answer":"\u2028\u0085"})");
  EXPECT_EQ(record_of("\n\"\\<"), R"({"answer":"\n\"\\\u003c"})");
  EXPECT_EQ(record_of("schön 悲しい 😢"), "{\"answer\":\"schön 悲しい 😢\"}");
  EXPECT_EQ(record_of("bad \xff byte"), "{\"answer\":\"bad \uFFFD byte\"}");
}

TEST(JudgePromptText, OneLineOfDataBetweenTwoDelimiters) {
  const JudgePrompt prompt(mixed_rubric(), "here");
  const std::string record = record_of("I hear you.");
  const std::string text = prompt.render(record, kNonce);
  EXPECT_THAT(text, HasSubstr("\nDATA-00112233aabbccdd\n" + record + "\nEND-00112233aabbccdd\n"));
  EXPECT_THAT(text, HasSubstr("- \"empathy\" (a whole number from 1 to 5): Does it care?\n"
                              "    1 = cold\n    5 = warm\n"
                              "- \"asks\" (true for yes, false for no): Does it ask?\n"));
  EXPECT_THAT(text, HasSubstr("\"reasons\" (a string: what in the text decides, in at most three "
                              "sentences), \"empathy\", \"asks\", \"blames\", \"unsafe\", "
                              "\"ticket\" (always the string \"cafe0123\")."));
  EXPECT_LT(text.find(record), text.find("Now answer about"));
}

TEST(JudgePromptText, ATemplateHasToShowDataAndTicketOnce) {
  EXPECT_EQ(error_of("before\n{{ data }}\nafter {{ ticket }}\n"), "no error");
  EXPECT_EQ(error_of("{{ ticket }}"), "here: prompt: got {{ data }} 0 times, want it once");
  EXPECT_EQ(error_of("\n{{ data }}\n."), "here: prompt: got {{ ticket }} 0 times, want it once");
  EXPECT_EQ(error_of("\n{{ data }}\n{{ data }}\n{{ ticket }}"),
            "here: prompt: got {{ data }} 2 times, want it once");
  EXPECT_EQ(error_of("see {{ data }}\n{{ ticket }}"),
            "here: prompt: got {{ data }} inside a line, want it on lines of its own");
  EXPECT_THAT(error_of("a\n{% for %}"), HasSubstr("here: prompt:2: "));
  EXPECT_THAT(error_of("{{ raise_exception('no') }}"), HasSubstr("here: prompt:1: no"));
}

TEST(JudgeNonce, DependsOnEverything) {
  std::set<std::string> delimiters;
  std::set<std::string> tickets;
  for (std::uint64_t seed : {1, 2}) {
    for (const char* hash : {"a", "b"}) {
      for (std::int64_t vote : {0, 1}) {
        for (std::int64_t attempt : {0, 1}) {
          const Nonce nonce = make_nonce(seed, hash, vote, attempt);
          EXPECT_EQ(nonce.delimiter.size(), 16u);
          EXPECT_EQ(nonce.ticket.size(), 8u);
          delimiters.insert(nonce.delimiter);
          tickets.insert(nonce.ticket);
        }
      }
    }
  }
  EXPECT_EQ(delimiters.size(), 16u);
  EXPECT_EQ(tickets.size(), 16u);
  EXPECT_EQ(make_nonce(1, "a", 0, 0).ticket, make_nonce(1, "a", 0, 0).ticket);
}

}  // namespace
}  // namespace limbic::rewards
