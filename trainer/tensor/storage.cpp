#include "trainer/tensor/storage.h"

#include <ATen/ATen.h>

#include "trainer/base/error.h"

namespace limbic {

void StoragePool::give(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  if (storage->nbytes() == 0) return;
  check(storage->data() != nullptr, "a storage gives its memory away once");
  free_[storage->nbytes()].push_back(
      storage->set_data_ptr(at::DataPtr(nullptr, storage->device())));
}

void StoragePool::take(const at::Tensor& tensor) {
  c10::StorageImpl* storage = tensor.storage().unsafeGetStorageImpl();
  if (storage->nbytes() == 0) return;
  check(storage->data() == nullptr, "a storage that has memory takes none");
  auto& free = free_[storage->nbytes()];
  if (free.empty()) {
    storage->set_data_ptr_noswap(storage->allocator()->allocate(storage->nbytes()));
    return;
  }
  storage->set_data_ptr_noswap(std::move(free.back()));
  free.pop_back();
}

}  // namespace limbic
