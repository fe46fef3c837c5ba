#include "trainer/engine/sharding/flat_layout.h"

#include <algorithm>

#include "trainer/base/error.h"

namespace limbic::engine {

FlatLayout::FlatLayout(std::span<const Leaf> leaves, std::size_t blocks, int ranks,
                       std::int64_t bucket_elements)
    : ranks_(ranks), blocks_(blocks) {
  const auto whole_shares = [&](std::int64_t count) { return (count + ranks - 1) / ranks * ranks; };
  const std::int64_t most = std::max<std::int64_t>(ranks, bucket_elements / ranks * ranks);
  std::size_t leaf = 0;
  for (std::size_t b = 0; b < blocks; ++b) {
    Block& block = blocks_[b];
    block.begin = padded_;
    block.before = elements_;
    for (; leaf < leaves.size() && leaves[leaf].block == b; ++leaf) {
      begins_.push_back(block.begin + block.used);
      block.used += leaves[leaf].elements;
    }
    block.size = whole_shares(block.used);
    block.first_bucket = buckets_.size();
    for (std::int64_t done = 0; done < block.size; done += most) {
      const std::int64_t begin = block.begin + done;
      buckets_.push_back({begin, std::min(most, block.size - done), begin});
    }
    block.last_bucket = buckets_.size();
    padded_ += block.size;
    elements_ += block.used;
  }
  check(leaf == leaves.size(), "leaves come in the order of their blocks");
}

FlatLayout::Piece FlatLayout::piece(std::size_t bucket, int rank) const {
  const Piece& whole = buckets_[bucket];
  const std::int64_t size = whole.size / ranks_;
  return {whole.begin + rank * size, size, whole.begin / ranks_};
}

FlatLayout::Range FlatLayout::range_of(const Piece& piece) const {
  const auto after =
      std::upper_bound(blocks_.begin(), blocks_.end(), piece.begin,
                       [](std::int64_t begin, const Block& block) { return begin < block.begin; });
  const Block& block = *std::prev(after);
  const std::int64_t end = std::min(piece.begin + piece.size, block.begin + block.used);
  return {block.before + piece.begin - block.begin, std::max<std::int64_t>(0, end - piece.begin)};
}

}  // namespace limbic::engine
