// Against the `tokenizers` package: ids, texts and places.
#include "tests/unit/tokenizer/golden.h"

#include <gtest/gtest.h>

namespace limbic::data {
namespace {

using Offsets = std::vector<std::pair<std::size_t, std::size_t>>;

class Golden : public testing::TestWithParam<std::string> {
 protected:
  const Tokenizer tokenizer_ = Tokenizer::load(golden_folder(GetParam()));
  const std::vector<Json> rows_ = golden_rows(GetParam() + "/golden.jsonl");
};

bool is_inside_character(const std::string& text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

// The package gives places in characters: a token of a part of one gets all of it.
Offsets widened(const std::string& text, Offsets offsets) {
  for (auto& [first, second] : offsets) {
    if (first == second) continue;
    while (is_inside_character(text, first)) --first;
    while (is_inside_character(text, second)) ++second;
  }
  return offsets;
}

TEST_P(Golden, Ids) {
  int texts = 0;
  for (const Json& row : rows_) {
    if (!row.contains("text")) continue;
    ++texts;
    EXPECT_EQ(tokenizer_.encode(row["text"].get<std::string>()), ids_of(row)) << row["text"];
  }
  EXPECT_GT(texts, 120);
}

TEST_P(Golden, IdsOfASecondTimeAndWithOffsets) {
  for (const Json& row : rows_) {  // the pieces are remembered now
    if (!row.contains("text")) continue;
    const std::string text = row["text"];
    tokenizer_.encode(text);
    EXPECT_EQ(tokenizer_.encode(text), ids_of(row)) << row["text"];
    EXPECT_EQ(tokenizer_.encode_with_offsets(text).ids, ids_of(row)) << row["text"];
  }
}

TEST_P(Golden, Decode) {
  int rows = 0;
  for (const Json& row : rows_) {
    ++rows;
    for (const bool skip : {false, true}) {
      EXPECT_EQ(tokenizer_.decode(ids_of(row), skip), decoded_of(row, skip)) << row;
    }
  }
  EXPECT_GT(rows, 120);
}

TEST_P(Golden, Offsets) {
  int compared = 0;
  for (const Json& row : rows_) {
    if (!row.contains("offsets")) continue;
    const std::string text = row["text"];
    const auto flat = row["offsets"].get<std::vector<std::size_t>>();
    Offsets got = widened(text, tokenizer_.encode_with_offsets(text).offsets);
    ASSERT_EQ(got.size() * 2, flat.size()) << row["text"];
    for (std::size_t i = 0; i < got.size(); ++i) {
      // A space put in stands for nothing here and for the character behind it in the package.
      if (got[i].first == got[i].second) got[i].second = flat[2 * i + 1];
      EXPECT_EQ(got[i], std::pair(flat[2 * i], flat[2 * i + 1])) << row["text"] << " token " << i;
    }
    ++compared;
  }
  if (GetParam() != "llama2") {  // its normaliser changes every text
    EXPECT_GT(compared, 50);
  }
}

// Also where the normaliser changes the text and the package has no comparable places.
TEST_P(Golden, OffsetsCoverTheText) {
  for (const Json& row : rows_) {
    if (!row.contains("text")) continue;
    const std::string text = row["text"];
    const Tokenizer::Encoded encoded = tokenizer_.encode_with_offsets(text);
    ASSERT_EQ(encoded.offsets.size(), encoded.ids.size());
    std::size_t covered = 0, start = 0;
    for (const auto& [first, second] : encoded.offsets) {
      EXPECT_LE(first, covered) << "a gap in " << row["text"];
      EXPECT_LE(start, first) << row["text"];
      EXPECT_LE(first, second) << row["text"];
      start = first;
      covered = std::max(covered, second);
    }
    EXPECT_EQ(covered, text.size()) << row["text"];
  }
}

TEST_P(Golden, StreamAddsUpToDecode) {
  for (const Json& row : rows_) {
    for (const bool skip : {false, true}) {
      StreamDecoder stream(tokenizer_, skip);
      std::string text;
      for (const std::int32_t id : ids_of(row)) text += stream.push(id);
      text += stream.finish();
      EXPECT_EQ(text, decoded_of(row, skip)) << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Golden, testing::ValuesIn(kFamilies),
                         [](const auto& chosen) { return chosen.param; });

// Other normalisers and pre-tokenizers in the file of smollm2.
TEST(Variants, Ids) {
  const std::vector<Json> rows = golden_rows("variants.jsonl");
  EXPECT_GT(rows.size(), 20U);
  for (const Json& row : rows) {
    Json json = golden_json("smollm2");
    json[row["part"].get<std::string>()] = row["value"];
    const test::TempFolder folder;
    folder.write("tokenizer.json", json.dump());
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    for (const Json& item : row["cases"]) {
      const std::string text = item["text"];
      EXPECT_EQ(tokenizer.encode(text), ids_of(item)) << row["name"] << " " << item["text"];
      EXPECT_EQ(tokenizer.encode_with_offsets(text).ids, ids_of(item))
          << row["name"] << " with offsets " << item["text"];
    }
  }
}

}  // namespace
}  // namespace limbic::data
