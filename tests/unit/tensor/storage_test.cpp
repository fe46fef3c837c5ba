#include "trainer/tensor/storage.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace limbic {
namespace {

TEST(StoragePool, ViewsFollowTheStorage) {
  StoragePool pool;
  const at::Tensor whole = at::arange(6, at::kFloat);
  const at::Tensor view = whole.slice(0, 2, 4).view({2, 1});
  const void* memory = whole.data_ptr();
  pool.give(whole);
  EXPECT_EQ(whole.storage().data(), nullptr);
  pool.take(whole);
  EXPECT_EQ(whole.data_ptr(), memory) << "memory of the same size is used again";
  whole.fill_(3.0);
  EXPECT_EQ(view.sum().item<float>(), 6.0F);
}

TEST(StoragePool, MemoryGoesToTheNextOfItsSize) {
  StoragePool pool;
  const at::Tensor a = at::zeros({8}), b = at::zeros({8}), c = at::zeros({9});
  for (const at::Tensor& tensor : {a, b, c}) pool.give(tensor);
  pool.take(c);
  pool.take(a);
  pool.take(b);
  a.fill_(1.0);
  b.fill_(2.0);
  c.fill_(3.0);
  EXPECT_EQ(a.sum().item<float>() + b.sum().item<float>() + c.sum().item<float>(), 51.0F);
}

TEST(StoragePool, ClearedItKeepsNothing) {
  StoragePool pool;
  const at::Tensor a = at::zeros({1 << 20});
  pool.give(a);
  pool.clear();
  pool.take(a);
  a.fill_(1.0);
  EXPECT_EQ(a.sum().item<float>(), static_cast<float>(1 << 20));
}

TEST(StoragePool, GivingOrTakingTwiceIsRefused) {
  StoragePool pool;
  const at::Tensor a = at::zeros({4}), empty = at::zeros({0});
  EXPECT_ANY_THROW(pool.take(a));
  pool.give(a);
  EXPECT_ANY_THROW(pool.give(a));
  pool.give(empty);
  pool.take(empty);
}

}  // namespace
}  // namespace limbic
