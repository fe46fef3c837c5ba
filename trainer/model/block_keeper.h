// Who brings the weights of the decoder's blocks before they are read and takes them away after.
// Block 0 is the embedding, block i + 1 layer i, the last one the final norm and the head.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>

namespace limbic::model {

class BlockKeeper {
 public:
  virtual ~BlockKeeper() = default;

  // A forward pass: every block is entered once, in ascending order, and every layer left.
  virtual void begin_pass() = 0;
  // Returns when the weights of the block may be read, until `leave`; the first and the last block
  // until `end_passes`.
  virtual void enter(std::size_t block) = 0;
  virtual void leave(std::size_t block) = 0;

  // Whether a backward pass is to call these: `begin_backward`, then every layer that it comes
  // through is entered and left, in descending order. The lowest one may not be left.
  virtual bool follows_backward() const = 0;
  virtual void begin_backward() = 0;

  // No pass goes on, on any rank. Every rank must call, before any other collective.
  virtual void end_passes() = 0;
};

// One pass through the layers. Without a keeper it does nothing.
class BlockPass {
 public:
  explicit BlockPass(BlockKeeper* keeper) : keeper_(keeper) {
    if (keeper_ != nullptr) keeper_->begin_pass();
  }
  void enter(std::size_t block) const {
    if (keeper_ != nullptr) keeper_->enter(block);
  }
  void leave(std::size_t block) const {
    if (keeper_ != nullptr) keeper_->leave(block);
  }
  // Between layers: what they hand on, such that the backward pass leaves layer `below + 1` and
  // enters layer `below` here. Either may be missing: 0 below, `last` above.
  void border(at::Tensor& residual, at::Tensor& delta, std::size_t below, std::size_t last) const;

 private:
  BlockKeeper* keeper_;
};

}  // namespace limbic::model
