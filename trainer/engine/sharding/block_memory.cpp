#include "trainer/engine/sharding/block_memory.h"

#include <utility>

namespace limbic::engine {

BlockMemory::BlockMemory(FlatLayout layout, const std::vector<at::Tensor>& tensors,
                         StoragePool& pool)
    : layout_(std::move(layout)), pool_(pool) {
  const at::NoGradGuard no_grad;
  const auto options = at::TensorOptions(tensors[0].scalar_type()).device(tensors[0].device());
  std::size_t leaf = 0;
  for (const FlatLayout::Block& block : layout_.blocks()) {
    whole_.push_back(at::zeros({block.size}, options));
    for (; leaf < tensors.size() && layout_.begin_of(leaf) < block.begin + block.size; ++leaf) {
      at::Tensor tensor = tensors[leaf];
      const std::int64_t begin = layout_.begin_of(leaf) - block.begin;
      const at::Tensor home =
          whole_.back().slice(0, begin, begin + tensor.numel()).view(tensor.sizes());
      home.copy_(tensor);
      tensor.set_data(home);
    }
  }
}

std::vector<at::Tensor> BlockMemory::pieces() const {
  std::vector<at::Tensor> pieces;
  for (std::size_t b = 0; b < layout_.buckets().size(); ++b) {
    const FlatLayout::Piece piece = layout_.piece(b, 0);
    pieces.push_back(share_.slice(0, piece.place, piece.place + piece.size));
  }
  return pieces;
}

void BlockMemory::keep_share(int rank) {
  const at::NoGradGuard no_grad;
  share_ = at::empty({layout_.share_size()}, whole_[0].options());
  for (std::size_t i = 0; i < whole_.size(); ++i) {
    const FlatLayout::Block& block = layout_.blocks()[i];
    for (std::size_t b = block.first_bucket; b < block.last_bucket; ++b) {
      const FlatLayout::Piece piece = layout_.piece(b, rank);
      const std::int64_t begin = piece.begin - block.begin;
      share_.slice(0, piece.place, piece.place + piece.size)
          .copy_(whole_[i].slice(0, begin, begin + piece.size));
    }
    give(i);
  }
}

void BlockMemory::gather(std::size_t index, parallel::Communicator& group) const {
  const FlatLayout::Block& block = layout_.blocks()[index];
  for (std::size_t b = block.first_bucket; b < block.last_bucket; ++b) {
    const FlatLayout::Piece& bucket = layout_.buckets()[b];
    const FlatLayout::Piece piece = layout_.piece(b, group.rank());
    const std::int64_t begin = bucket.begin - block.begin;
    group.all_gather(share_.slice(0, piece.place, piece.place + piece.size),
                     whole_[index].slice(0, begin, begin + bucket.size));
  }
}

std::vector<FlatLayout::Leaf> leaves_of(const std::vector<at::Tensor>& tensors,
                                        const std::vector<std::size_t>& blocks) {
  std::vector<FlatLayout::Leaf> leaves;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    leaves.push_back({tensors[i].numel(), blocks[i]});
  return leaves;
}

}  // namespace limbic::engine
