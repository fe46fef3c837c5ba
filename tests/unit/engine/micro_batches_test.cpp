#include "trainer/engine/micro_batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trainer/base/error.h"

namespace limbic::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<std::int64_t> kLengths = {5, 3, 4, 8, 1, 1, 6};

std::vector<std::vector<std::size_t>> cut(std::int64_t rows, std::int64_t tokens, bool packing) {
  TrainConfig config;
  config.per_device_train_batch_size = rows;
  config.max_tokens_per_batch = tokens;
  config.packing = packing;
  return cut_documents(kLengths, config);
}

TEST(CutDocuments, ByRows) {
  EXPECT_THAT(cut(3, 0, true),
              ElementsAre(ElementsAre(0, 1, 2), ElementsAre(3, 4, 5), ElementsAre(6)));
  EXPECT_THAT(cut(7, 0, true), ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6)));
  EXPECT_THAT(cut(1, 0, true).size(), 7);
}

TEST(CutDocuments, ByTokensWhateverTheRows) {
  EXPECT_THAT(cut(1, 8, true),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2), ElementsAre(3), ElementsAre(4, 5, 6)));
  EXPECT_THAT(cut(1, 28, true), ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 6)));
}

TEST(CutDocuments, WithoutPackingEveryDocumentIsASequence) {
  for (const std::int64_t rows : {1, 3}) {
    const auto batches = cut(rows, 0, false);
    ASSERT_EQ(batches.size(), kLengths.size());
    for (std::size_t i = 0; i < batches.size(); ++i) EXPECT_THAT(batches[i], ElementsAre(i));
  }
}

TEST(CutDocuments, ADocumentLongerThanTheLimitIsAConfigError) {
  EXPECT_THROW(cut(4, 7, true), ConfigError);
  EXPECT_THROW(cut(4, 7, false), ConfigError);
}

TEST(CutDocuments, NoDocumentsNoBatches) {
  TrainConfig config;
  for (const bool packing : {false, true}) {
    config.packing = packing;
    EXPECT_THAT(cut_documents({}, config), IsEmpty());
  }
}

TEST(PackExamples, TakesTheNamedOnesInTheirOrder) {
  std::vector<data::Example> examples;
  for (std::int32_t i = 0; i < 4; ++i) {
    examples.push_back({.ids = {i, i}, .loss_mask = {0, 1}, .row = i});
  }
  TrainConfig config;
  config.per_device_train_batch_size = 2;
  const auto batches = pack_examples(examples, std::vector<std::int64_t>{3, 0, 2}, config);
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_THAT(batches[0].tokens, ElementsAre(3, 3, 0, 0));
  EXPECT_THAT(batches[1].tokens, ElementsAre(2, 2));
  EXPECT_EQ(batches[0].loss_tokens, 2);
}

}  // namespace
}  // namespace limbic::engine
