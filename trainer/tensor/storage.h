// Memory that a tensor gives away while nobody reads it and gets back later. Its views, those that
// autograd keeps included, follow: they name the storage, not the memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <map>
#include <vector>

namespace limbic {

// Keeps what is given away for the next taker of the same size.
class StoragePool {
 public:
  // The storage of `tensor` has no memory afterwards. Requires: it has.
  void give(const at::Tensor& tensor);
  // The storage of `tensor` has memory afterwards, its values undefined. Requires: it has none.
  void take(const at::Tensor& tensor);
  // Keeps nothing of what was given so far.
  void clear() { free_.clear(); }

 private:
  std::map<std::size_t, std::vector<at::DataPtr>> free_;  // by bytes
};

}  // namespace limbic
