// Where tensors lie in one flat buffer that ranks share: block by block of the model, each block
// padded to a whole number of elements per rank and cut into buckets. A rank's share is its piece
// of every bucket, one behind the other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace limbic::engine {

class FlatLayout {
 public:
  struct Leaf {
    std::int64_t elements = 0;
    std::size_t block = 0;  // ascending over the leaves
  };
  struct Block {
    std::int64_t begin = 0, size = 0;  // in the flat buffer, with padding
    std::int64_t used = 0;             // without
    std::int64_t before = 0;           // elements of the blocks before it, without padding
    std::size_t first_bucket = 0, last_bucket = 0;
  };
  // One contiguous part: elements [begin, begin + size) of the flat buffer are elements [place,
  // place + size) of the share.
  struct Piece {
    std::int64_t begin = 0, size = 0, place = 0;
  };
  struct Range {
    std::int64_t begin = 0, size = 0;
  };

  // bucket_elements: at most so many in a bucket, as far as every rank has one.
  FlatLayout(std::span<const Leaf> leaves, std::size_t blocks, int ranks,
             std::int64_t bucket_elements);

  int ranks() const { return ranks_; }
  std::int64_t elements() const { return elements_; }  // of all leaves
  std::int64_t padded() const { return padded_; }      // of the flat buffer
  std::int64_t share_size() const { return padded_ / ranks_; }
  std::int64_t begin_of(std::size_t leaf) const { return begins_[leaf]; }
  const std::vector<Block>& blocks() const { return blocks_; }
  // Whole buckets in the order of the flat buffer; their place is where they begin.
  const std::vector<Piece>& buckets() const { return buckets_; }
  // The piece of a bucket that is the rank's.
  Piece piece(std::size_t bucket, int rank) const;
  // The elements of `piece` among those of all leaves, without padding; may be empty.
  Range range_of(const Piece& piece) const;

 private:
  int ranks_;
  std::int64_t elements_ = 0, padded_ = 0;
  std::vector<std::int64_t> begins_;
  std::vector<Block> blocks_;
  std::vector<Piece> buckets_;
};

}  // namespace limbic::engine
