// What a rank is about to do. The ranks compare it before any data moves, so that two ranks at
// different collectives, or with tensors of different sizes, end with a message instead of wrong
// numbers or a hang.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>

namespace limbic::parallel {

enum class CallKind : std::int64_t {
  kAllReduceSum,
  kReduceScatterSum,
  kAllGather,
  kBroadcast,
  kBarrier,
  kAllGatherBytes,
  kEnd,     // the rank ends with an error
  kFinish,  // the rank is done
  kSplit,
};

// Travels between processes of the same binary as it lies in memory: no padding.
struct Call {
  CallKind kind = CallKind::kBarrier;
  std::int64_t bytes = 0;   // of the rank's own data
  std::int64_t detail = 0;  // dtype or root rank: equal on all ranks
};

std::string name_of(CallKind kind);
// `all_reduce_sum (4000 bytes of Float), call 7 of rank 1`.
std::string place_of(const Call& call, std::int64_t number, int rank);

// Empty when all ranks are at the same call (the lengths of kAllGatherBytes may differ), else who
// differs: `all_reduce_sum (80 bytes) of rank 0 met barrier of rank 2`.
std::string disagreement(std::span<const Call> calls);

// The calls of tensor collectives. Throw std::logic_error for a tensor that is not contiguous, not
// on the device where the transport reads or of a dtype without sum, and for sizes that do not fit
// `ranks`.
Call all_reduce_call(const at::Tensor& tensor, at::Device where = at::kCPU);
Call reduce_scatter_call(const at::Tensor& input, const at::Tensor& output, int ranks,
                         at::Device where = at::kCPU);
Call all_gather_call(const at::Tensor& input, const at::Tensor& output, int ranks,
                     at::Device where = at::kCPU);
Call broadcast_call(const at::Tensor& tensor, int root, int ranks, at::Device where = at::kCPU);

// The type that values of `type` are added in: float32 for bfloat16, else itself.
at::ScalarType sum_type(at::ScalarType type);

}  // namespace limbic::parallel
