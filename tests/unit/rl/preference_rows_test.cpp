#include "rl/dpo/preference_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/test_run.h"

namespace limbic::rl {
namespace {

using engine::Overlong;
using testing::HasSubstr;

class PreferenceRows : public testing::Test {
 protected:
  std::vector<PreferencePair> pairs(const std::vector<std::string>& rows,
                                    engine::LengthRule rule = {.limit = 1000}) {
    const std::string name = "d" + std::to_string(count_++);
    run_.add_dataset(name, rows);
    return encode_pairs(run_.context, engine::mixture_of(run_.context, {name}), rule);
  }

  // Targets in brackets.
  std::string marked(const data::Example& example) {
    std::string out;
    for (std::size_t i = 0; i < example.ids.size(); ++i) {
      const std::string piece = run_.tokenizer.decode(std::span(example.ids).subspan(i, 1), false);
      out += example.loss_mask[i] ? "[" + piece + "]" : piece;
    }
    return out;
  }

  test::TempFolder folder_;
  std::unique_ptr<parallel::Communicator> local_ = parallel::make_local();
  engine::TestRun run_{*local_, folder_.file("run")};
  int count_ = 0;
};

constexpr const char* kPlain = R"({"prompt": "say", "chosen": "ab", "rejected": "ac"})";
constexpr const char* kHead = "<|im_start|>user\nsay<|im_end|>\n<|im_start|>assistant\n";

TEST_F(PreferenceRows, ThePromptStandsOnce) {
  const auto got = pairs({kPlain});
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(marked(got[0].family.first), kHead);
  EXPECT_EQ(marked(got[0].family.rest[0]), "[a][b][<|im_end|>]\n");
  EXPECT_EQ(marked(got[0].family.rest[1]), "[a][c][<|im_end|>]\n");
  EXPECT_EQ(got[0].chosen_targets, 3);
  EXPECT_EQ(got[0].rejected_targets, 3);
}

// Strings, lists, whole conversations with the prompt beside them or without: the same pair.
TEST_F(PreferenceRows, EveryShape) {
  const std::string user = R"({"role": "user", "content": "say"})";
  const auto reply = [](const char* text) {
    return std::string(R"({"role": "assistant", "content": ")") + text + "\"}";
  };
  const std::string lists =
      R"("chosen": [)" + reply("ab") + R"(], "rejected": [)" + reply("ac") + "]";
  const std::string whole = R"("chosen": [)" + user + "," + reply("ab") + R"(], "rejected": [)" +
                            user + "," + reply("ac") + "]";
  const auto want = pairs({kPlain});
  for (const std::string& row : {R"({"prompt": [)" + user + "], " + lists + "}",
                                 R"({"messages": [)" + user + "], " + lists + "}",
                                 R"({"prompt": "say", )" + whole + "}", "{" + whole + "}"}) {
    const auto got = pairs({row});
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(marked(got[0].family.first), marked(want[0].family.first)) << row;
    EXPECT_EQ(marked(got[0].family.rest[0]), marked(want[0].family.rest[0])) << row;
    EXPECT_EQ(marked(got[0].family.rest[1]), marked(want[0].family.rest[1])) << row;
  }
}

TEST_F(PreferenceRows, TurnsOfThePromptAreNoTargets) {
  const auto got = pairs(
      {R"({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, )"
       R"({"role": "user", "content": "c"}], "chosen": "x", "rejected": "y"})"});
  EXPECT_THAT(marked(got[0].family.first), testing::Not(HasSubstr("[")));
  EXPECT_EQ(marked(got[0].family.rest[0]), "[x][<|im_end|>]\n");
}

TEST_F(PreferenceRows, LongPairs) {
  const auto length = static_cast<std::int64_t>(pairs({kPlain})[0].family.first.ids.size());
  const auto cut = [&](Overlong overlong, std::int64_t limit) {
    return pairs({kPlain, R"({"prompt": "s", "chosen": "a", "rejected": "b"})"},
                 {.limit = limit, .overlong = overlong});
  };
  EXPECT_EQ(cut(Overlong::kDrop, length + 2).size(), 1U);
  const auto right = cut(Overlong::kTruncateRight, length + 2);
  EXPECT_EQ(marked(right[0].family.rest[0]), "[a][b]");
  EXPECT_EQ(right[0].chosen_targets, 2);
  const auto left = cut(Overlong::kTruncateLeft, length + 2);
  EXPECT_EQ(left[0].family.first.ids.size(), static_cast<std::size_t>(length - 2));
  EXPECT_EQ(marked(left[0].family.rest[1]), "[a][c][<|im_end|>]\n");
  EXPECT_THAT(test::message_of<DataError>([&] { cut(Overlong::kError, length + 2); }),
              HasSubstr(":1: got "));
}

}  // namespace
}  // namespace limbic::rl
