// Random texts against the `tokenizers` package: ids, what is decoded from them, and streams. The
// package's answers are the hashes of make_golden.py, of golden/ or of $LIMBIC_TEXT_GOLDEN.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/utf8.h"
#include "tests/parity/text/random_text.h"
#include "trainer/base/file.h"

namespace limbic::data {
namespace {

const std::string kFolder = std::string(LIMBIC_SOURCE_DIR) + "/tests/parity/text/";

std::string golden_folder() {
  const char* given = std::getenv("LIMBIC_TEXT_GOLDEN");
  return given ? given : kFolder + "golden";
}

std::vector<std::string> kinds() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(golden_folder())) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class TokenizerParity : public testing::TestWithParam<std::string> {
 protected:
  TokenizerParity()
      : folder_(golden_folder() + "/" + GetParam()),
        tokenizer_(Tokenizer::load(folder_)),
        golden_(Json::parse(read_file(folder_ + "/hashes.json"))),
        texts_(Json::parse(read_file(kFolder + "random_text.json")),
               golden_["tokens"].get<std::vector<std::string>>()) {}

  const std::string folder_;
  const Tokenizer tokenizer_;
  const Json golden_;
  const RandomTexts texts_;
};

void append_ids(const std::vector<std::int32_t>& ids, std::string& out) {
  const std::size_t start = out.size();
  out.resize(start + ids.size() * sizeof(std::int32_t));
  if (!ids.empty()) std::memcpy(out.data() + start, ids.data(), out.size() - start);
}

TEST_P(TokenizerParity, IdsAndDecodedTexts) {
  const auto count = golden_["texts"].get<std::uint64_t>();
  const auto chunk = golden_["chunk"].get<std::uint64_t>();
  const auto hashes = golden_["hashes"].get<std::vector<std::string>>();
  ASSERT_EQ(hashes.size(), (count + chunk - 1) / chunk);
  std::string record;
  for (std::size_t c = 0; c < hashes.size(); ++c) {
    record.clear();
    for (std::uint64_t i = c * chunk; i < std::min(count, (c + 1) * chunk); ++i) {
      std::vector<std::int32_t> ids = tokenizer_.encode(texts_.text(i));
      const std::string kept = tokenizer_.decode(ids, false);
      const std::string skipped = tokenizer_.decode(ids, true);
      ids.push_back(-1);
      append_ids(ids, record);
      record += kept + '\0' + skipped + '\0';
    }
    EXPECT_EQ(sha256(record).substr(0, 16), hashes[c])
        << fmt::format("texts {} to {}", c * chunk, (c + 1) * chunk - 1);
  }
}

TEST_P(TokenizerParity, StreamsAndPlaces) {
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const std::string text = texts_.text(i);
    const Tokenizer::Encoded encoded = tokenizer_.encode_with_offsets(text);
    EXPECT_EQ(encoded.ids, tokenizer_.encode(text)) << "text " << i;
    for (const auto& [begin, end] : encoded.offsets)
      EXPECT_TRUE(begin <= end && end <= text.size());
    StreamDecoder stream(tokenizer_, false);
    std::string streamed;
    for (const std::int32_t id : encoded.ids) {
      const std::string piece = stream.push(id);
      EXPECT_EQ(find_invalid_utf8(piece), std::string::npos) << "half a character of text " << i;
      streamed += piece;
    }
    EXPECT_EQ(streamed + stream.finish(), tokenizer_.decode(encoded.ids, false)) << "text " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerParity, testing::ValuesIn(kinds()),
                         [](const auto& chosen) { return chosen.param; });

}  // namespace
}  // namespace limbic::data
