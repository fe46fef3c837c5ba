// Tensors of one type of all blocks of the model: each block in memory of its own, which comes and
// goes, while every rank keeps its share of all.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "trainer/engine/sharding/flat_layout.h"
#include "trainer/parallel/communicator.h"
#include "trainer/tensor/storage.h"

namespace limbic::engine {

class BlockMemory {
 public:
  // Moves the tensors, which lie as the layout's leaves do, into the memory of their blocks.
  BlockMemory(FlatLayout layout, const std::vector<at::Tensor>& tensors, StoragePool& pool);

  const FlatLayout& layout() const { return layout_; }
  // Pieces of the rank's share, one of each bucket. Undefined before `keep_share`.
  const at::Tensor& share() const { return share_; }
  std::vector<at::Tensor> pieces() const;

  // From here on the rank keeps its share of every block; all blocks give their memory away.
  void keep_share(int rank);
  // Memory for a block, its values undefined.
  void take(std::size_t block) { pool_.take(whole_[block]); }
  void give(std::size_t block) { pool_.give(whole_[block]); }
  // The shares of all ranks -> the memory of the block. Every rank of the group must call.
  void gather(std::size_t block, parallel::Communicator& group) const;

 private:
  FlatLayout layout_;
  StoragePool& pool_;
  std::vector<at::Tensor> whole_;  // [block.size] each
  at::Tensor share_;
};

// Empty when there are no tensors.
std::vector<FlatLayout::Leaf> leaves_of(const std::vector<at::Tensor>& tensors,
                                        const std::vector<std::size_t>& blocks);

}  // namespace limbic::engine
