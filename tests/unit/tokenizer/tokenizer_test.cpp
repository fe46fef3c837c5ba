#include "data/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/unit/tokenizer/golden.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Tokenizer load(const std::string& family) { return Tokenizer::load(golden_folder(family)); }

TEST(Tokenizer, NamesTokens) {
  const Tokenizer tokenizer = load("qwen");
  EXPECT_EQ(tokenizer.size(), 566);
  EXPECT_EQ(tokenizer.token_of(560), "<|endoftext|>");
  EXPECT_EQ(tokenizer.id_of("<think>"), 563);
  EXPECT_EQ(tokenizer.id_of("<thing>"), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(562));
  EXPECT_FALSE(tokenizer.is_special(563)) << "an added token that is not special";
  EXPECT_FALSE(tokenizer.is_special(0));
  EXPECT_EQ(tokenizer.eos_id(), 562);
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer.pad_id(), 560);
}

TEST(Tokenizer, EveryIdHasItsToken) {
  for (const std::string& family : kFamilies) {
    const Tokenizer tokenizer = load(family);
    for (std::int32_t id = 0; id < tokenizer.size(); ++id) {
      EXPECT_EQ(tokenizer.id_of(tokenizer.token_of(id)), id) << family;
    }
  }
}

TEST(Tokenizer, IdsThatNobodyHas) {
  const Tokenizer tokenizer = load("smollm2");
  for (const std::int32_t id : {-1, tokenizer.size(), 1'000'000, INT32_MIN, INT32_MAX}) {
    try {
      tokenizer.token_of(id);
      ADD_FAILURE() << id;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("got id " + std::to_string(id)),
                                      HasSubstr("0 to " + std::to_string(tokenizer.size() - 1))));
    }
    EXPECT_FALSE(tokenizer.is_special(id));
    EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{id}, false), "");
    StreamDecoder stream(tokenizer, false);
    EXPECT_EQ(stream.push(id) + stream.finish(), "");
  }
}

TEST(Tokenizer, RefusesTextsThatAreNotUtf8) {
  const Tokenizer tokenizer = load("smollm2");
  const std::pair<std::string, std::string> texts[] = {
      {"\xFF", "0xFF at 0"},
      {"ab\x80", "0x80 at 2"},
      {"12345678\xC3", "0xC3 at 8"},
      {"a\xC3(", "0xC3 at 1"},
      {"\xC0\xAF", "0xC0 at 0"},               // longer than needed
      {"x\xE0\x80\xAF", "0xE0 at 1"},          // longer than needed
      {"\xED\xA0\x80", "0xED at 0"},           // a surrogate
      {"\xF4\x90\x80\x80", "0xF4 at 0"},       // above U+10FFFF
      {"\xF0\x9F\x98", "0xF0 at 0"},           // cut
      {"<|im_end|>\xE2\x82z", "0xE2 at 10"}};  // cut, behind a token
  for (const auto& [text, place] : texts) {
    for (const bool with_offsets : {false, true}) {
      try {
        with_offsets ? tokenizer.encode_with_offsets(text).ids : tokenizer.encode(text);
        ADD_FAILURE() << place;
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), AllOf(HasSubstr(place), HasSubstr("UTF-8")));
      }
    }
  }
  EXPECT_FALSE(tokenizer.encode("still works").empty());
}

TEST(Tokenizer, OffsetsCutCharactersAndFollowTokens) {
  const Tokenizer tokenizer = load("smollm2");
  // No token has two bytes of U+10FFFF.
  const Tokenizer::Encoded encoded = tokenizer.encode_with_offsets("7<|im_end|>\U0010FFFF");
  EXPECT_THAT(encoded.offsets, ElementsAre(Pair(0, 1), Pair(1, 11), Pair(11, 12), Pair(12, 13),
                                           Pair(13, 14), Pair(14, 15)));
}

TEST(Tokenizer, OffsetsOfComposedCharacters) {
  const Tokenizer tokenizer = load("qwen");
  const Tokenizer::Encoded plain = tokenizer.encode_with_offsets("\u00e9<think>");
  const Tokenizer::Encoded marked = tokenizer.encode_with_offsets("e\u0301<think>");
  EXPECT_EQ(plain.ids, marked.ids);
  // Letter and mark are three bytes, and a token made of both stands for all of them.
  EXPECT_EQ(marked.offsets.front().first, 0U);
  EXPECT_EQ(marked.offsets[marked.offsets.size() - 2].second, 3U);
  EXPECT_THAT(marked.offsets.back(), Pair(3, 10));
}

TEST(Tokenizer, AddedTokensTakeTheirWhiteSpace) {
  const Tokenizer tokenizer = load("flags");
  const Tokenizer::Encoded encoded = tokenizer.encode_with_offsets("a \t<Both>\n b");
  ASSERT_EQ(encoded.ids.size(), 3U);
  EXPECT_EQ(encoded.ids[1], tokenizer.id_of("<Both>"));
  EXPECT_THAT(encoded.offsets, ElementsAre(Pair(0, 1), Pair(1, 11), Pair(11, 12)));
}

TEST(StreamDecoder, KeepsCutCharactersBack) {
  const Tokenizer tokenizer = load("smollm2");
  const std::vector<std::int32_t> ids = tokenizer.encode("\U0010FFFF!");
  ASSERT_EQ(ids.size(), 5U);
  StreamDecoder stream(tokenizer, false);
  EXPECT_EQ(stream.push(ids[0]), "");
  EXPECT_EQ(stream.push(ids[1]), "");
  EXPECT_EQ(stream.push(ids[2]), "");
  EXPECT_EQ(stream.push(ids[3]), "\U0010FFFF");
  EXPECT_EQ(stream.push(ids[4]), "!");
  EXPECT_EQ(stream.finish(), "");

  StreamDecoder cut(tokenizer, false);
  EXPECT_EQ(cut.push(ids[0]), "");
  EXPECT_EQ(cut.push(ids[1]), "");
  EXPECT_EQ(cut.finish(), "\uFFFD");
}

TEST(StreamDecoder, SkipsSpecialTokensOnly) {
  const Tokenizer tokenizer = load("qwen");
  StreamDecoder stream(tokenizer, true);
  EXPECT_EQ(stream.push(*tokenizer.id_of("<|im_start|>")), "");
  EXPECT_EQ(stream.push(*tokenizer.id_of("<think>")), "<think>");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Tokenizer, ServesSeveralThreads) {
  const Tokenizer tokenizer = load("qwen");
  std::vector<Json> rows = golden_rows("qwen/golden.jsonl");
  std::erase_if(rows, [](const Json& row) { return !row.contains("text"); });
  std::atomic<int> wrong = 0;
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const Json& row = rows[(i * (2 * t + 1) + t) % rows.size()];
        const std::string text = row["text"];
        if (tokenizer.encode(text) != ids_of(row)) ++wrong;
        if (tokenizer.encode_with_offsets(text).ids != ids_of(row)) ++wrong;
        if (tokenizer.decode(ids_of(row), false) != decoded_of(row, false)) ++wrong;
        ++done;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(done, static_cast<int>(4 * rows.size()));
}

}  // namespace
}  // namespace limbic::data
