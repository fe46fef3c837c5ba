#include "trainer/parallel/call.h"

#include <array>

#include "trainer/base/error.h"

namespace limbic::parallel {
namespace {

constexpr std::array<const char*, 9> kNames = {
    "all_reduce_sum",   "reduce_scatter_sum", "all_gather", "broadcast", "barrier",
    "all_gather_bytes", "end with an error",  "the end",    "split"};

std::string described(const Call& call) {
  const bool has_data = call.kind < CallKind::kBarrier || call.kind == CallKind::kAllGatherBytes;
  if (!has_data) return name_of(call.kind);
  std::string text = fmt::format("{} ({} bytes", name_of(call.kind), call.bytes);
  if (call.kind == CallKind::kBroadcast) {
    text += fmt::format(" from rank {}", call.detail);
  } else if (call.kind != CallKind::kAllGatherBytes) {
    text += fmt::format(" of {}", c10::toString(static_cast<at::ScalarType>(call.detail)));
  }
  return text + ")";
}

bool same(const Call& a, const Call& b) {
  if (a.kind != b.kind) return false;
  return a.kind == CallKind::kAllGatherBytes || (a.bytes == b.bytes && a.detail == b.detail);
}

void check_tensor(const at::Tensor& tensor, at::Device where) {
  if (tensor.is_contiguous() && tensor.device() == where) return;
  check(false, fmt::format("got a tensor on {}{}, want it contiguous on {}", tensor.device().str(),
                           tensor.is_contiguous() ? "" : " with gaps", where.str()));
}

void check_summable(const at::Tensor& tensor, at::Device where) {
  check_tensor(tensor, where);
  const at::ScalarType type = tensor.scalar_type();
  check(type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kLong,
        "sums over ranks are of float32, float64, bfloat16 or int64");
}

Call call_of(CallKind kind, const at::Tensor& tensor) {
  return {.kind = kind,
          .bytes = static_cast<std::int64_t>(tensor.nbytes()),
          .detail = static_cast<std::int64_t>(tensor.scalar_type())};
}

}  // namespace

std::string name_of(CallKind kind) {
  const auto index = static_cast<std::size_t>(kind);
  return index < kNames.size() ? kNames[index] : "an unknown call";
}

std::string place_of(const Call& call, std::int64_t number, int rank) {
  return fmt::format("{}, call {} of rank {}", described(call), number, rank);
}

std::string disagreement(std::span<const Call> calls) {
  for (std::size_t rank = 1; rank < calls.size(); ++rank) {
    if (same(calls[0], calls[rank])) continue;
    return fmt::format("{} of rank 0 met {} of rank {}", described(calls[0]),
                       described(calls[rank]), rank);
  }
  return "";
}

Call all_reduce_call(const at::Tensor& tensor, at::Device where) {
  check_summable(tensor, where);
  return call_of(CallKind::kAllReduceSum, tensor);
}

Call reduce_scatter_call(const at::Tensor& input, const at::Tensor& output, int ranks,
                         at::Device where) {
  check_summable(input, where);
  check_tensor(output, where);
  check(input.scalar_type() == output.scalar_type() && input.numel() == output.numel() * ranks,
        "reduce_scatter_sum takes size() times the elements that it gives");
  return call_of(CallKind::kReduceScatterSum, output);
}

Call all_gather_call(const at::Tensor& input, const at::Tensor& output, int ranks,
                     at::Device where) {
  check_tensor(input, where);
  check_tensor(output, where);
  check(input.scalar_type() == output.scalar_type() && output.numel() == input.numel() * ranks,
        "all_gather gives size() times the elements that it takes");
  return call_of(CallKind::kAllGather, input);
}

Call broadcast_call(const at::Tensor& tensor, int root, int ranks, at::Device where) {
  check_tensor(tensor, where);
  check(root >= 0 && root < ranks, "broadcast comes from a rank of the world");
  Call call = call_of(CallKind::kBroadcast, tensor);
  call.detail = root;
  return call;
}

at::ScalarType sum_type(at::ScalarType type) { return type == at::kBFloat16 ? at::kFloat : type; }

}  // namespace limbic::parallel
