#include "trainer/engine/sharding/flat_layout.h"

#include <gtest/gtest.h>

namespace limbic::engine {
namespace {

using Leaf = FlatLayout::Leaf;

// Blocks of 5, 0 and 7 elements for 2 ranks: padded to 6, 0 and 8.
FlatLayout odd(std::int64_t bucket_elements) {
  const std::vector<Leaf> leaves = {{2, 0}, {3, 0}, {7, 2}};
  return {leaves, 3, 2, bucket_elements};
}

TEST(FlatLayout, PadsEveryBlockToWholeShares) {
  const FlatLayout layout = odd(100);
  EXPECT_EQ(layout.elements(), 12);
  EXPECT_EQ(layout.padded(), 14);
  EXPECT_EQ(layout.share_size(), 7);
  EXPECT_EQ(layout.begin_of(0), 0);
  EXPECT_EQ(layout.begin_of(1), 2);
  EXPECT_EQ(layout.begin_of(2), 6);
  ASSERT_EQ(layout.buckets().size(), 2U);  // none for the empty block
  EXPECT_EQ(layout.blocks()[1].size, 0);
  EXPECT_EQ(layout.buckets()[1].begin, 6);
  EXPECT_EQ(layout.buckets()[1].size, 8);
}

TEST(FlatLayout, CutsBlocksIntoBucketsThatEveryRankHasAPieceOf) {
  const FlatLayout layout = odd(5);  // so 4
  std::vector<std::int64_t> sizes;
  for (const auto& bucket : layout.buckets()) sizes.push_back(bucket.size);
  EXPECT_EQ(sizes, (std::vector<std::int64_t>{4, 2, 4, 4}));
  const FlatLayout::Piece piece = layout.piece(2, 1);
  EXPECT_EQ(piece.begin, 8);
  EXPECT_EQ(piece.size, 2);
  EXPECT_EQ(piece.place, 3);
  EXPECT_EQ(odd(1).buckets()[0].size, 2) << "no rank goes without";
}

TEST(FlatLayout, RangesOfAllRanksAreTheElementsOnce) {
  for (const std::int64_t bucket_elements : {1, 3, 5, 100}) {
    const FlatLayout layout = odd(bucket_elements);
    std::vector<int> seen(12);
    std::int64_t place[2] = {0, 0};
    for (std::size_t b = 0; b < layout.buckets().size(); ++b) {
      for (int rank = 0; rank < 2; ++rank) {
        const FlatLayout::Piece piece = layout.piece(b, rank);
        EXPECT_EQ(piece.place, place[rank]);
        place[rank] += piece.size;
        const FlatLayout::Range range = layout.range_of(piece);
        for (std::int64_t i = 0; i < range.size; ++i) {
          ++seen.at(static_cast<std::size_t>(range.begin + i));
        }
      }
    }
    EXPECT_EQ(seen, std::vector<int>(12, 1)) << bucket_elements;
    EXPECT_EQ(place[0], layout.share_size());
  }
}

}  // namespace
}  // namespace limbic::engine
