#include "trainer/base/error.h"
#include "trainer/parallel/communicator.h"

namespace limbic::parallel {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> transport, const Staging& staging)
      : transport_(std::move(transport)), staging_(staging) {}

  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }

  void all_reduce_sum(at::Tensor tensor) override {
    if (!is_staged(tensor)) return transport_->all_reduce_sum(tensor);
    const at::Tensor flat = tensor.view({-1});
    over_pieces(flat, 1, [&](std::int64_t begin, std::int64_t end) {
      const at::Tensor piece = flat.slice(0, begin, end);
      const at::Tensor host = buffer(first_, piece);
      host.copy_(piece);
      transport_->all_reduce_sum(host);
      piece.copy_(host);
    });
  }

  void reduce_scatter_sum(const at::Tensor& input, at::Tensor output) override {
    if (!is_staged(output)) return transport_->reduce_scatter_sum(input, output);
    check(is_staged(input) && input.numel() == output.numel() * size(),
          "reduce_scatter_sum takes size() times the elements that it gives");
    const at::Tensor shards = input.view({size(), -1});
    const at::Tensor flat = output.view({-1});
    over_pieces(flat, size(), [&](std::int64_t begin, std::int64_t end) {
      const at::Tensor pieces = shards.slice(1, begin, end);
      const at::Tensor host = buffer(first_, pieces);
      host.copy_(pieces);
      const at::Tensor sum = buffer(second_, flat.slice(0, begin, end));
      transport_->reduce_scatter_sum(host, sum);
      flat.slice(0, begin, end).copy_(sum);
    });
  }

  void all_gather(const at::Tensor& input, at::Tensor output) override {
    if (!is_staged(output)) return transport_->all_gather(input, output);
    check(is_staged(input) && output.numel() == input.numel() * size(),
          "all_gather gives size() times the elements that it takes");
    const at::Tensor shards = output.view({size(), -1});
    const at::Tensor flat = input.view({-1});
    over_pieces(flat, size(), [&](std::int64_t begin, std::int64_t end) {
      const at::Tensor piece = flat.slice(0, begin, end);
      const at::Tensor host = buffer(second_, piece);
      host.copy_(piece);
      const at::Tensor all = buffer(first_, shards.slice(1, begin, end));
      transport_->all_gather(host, all);
      shards.slice(1, begin, end).copy_(all);
    });
  }

  void broadcast(at::Tensor tensor, int root) override {
    if (!is_staged(tensor)) return transport_->broadcast(tensor, root);
    const at::Tensor flat = tensor.view({-1});
    over_pieces(flat, 1, [&](std::int64_t begin, std::int64_t end) {
      const at::Tensor piece = flat.slice(0, begin, end);
      const at::Tensor host = buffer(first_, piece);
      if (rank() == root) host.copy_(piece);
      transport_->broadcast(host, root);
      if (rank() != root) piece.copy_(host);
    });
  }

  std::int64_t meet(const Call& call) override { return transport_->meet(call); }
  bool everyone_arrives(double seconds) override { return transport_->everyone_arrives(seconds); }
  void set_timeout(double seconds) override { transport_->set_timeout(seconds); }
  std::vector<std::string> all_gather_bytes(const std::string& mine) override {
    return transport_->all_gather_bytes(mine);
  }
  std::unique_ptr<Communicator> split(int color) override {
    return make_staged(transport_->split(color), staging_);
  }
  void abort(const std::string& reason, int code) override { transport_->abort(reason, code); }

 private:
  bool is_staged(const at::Tensor& tensor) const {
    if (tensor.is_cpu() && !staging_.every_tensor) return false;
    check(tensor.is_contiguous(), "collectives take contiguous tensors");
    return true;
  }

  // Calls f(begin, end) for pieces of `flat`, so that `copies` of one fit into a buffer. Once even
  // when there is nothing: the ranks must meet.
  template <class F>
  void over_pieces(const at::Tensor& flat, std::int64_t copies, F f) const {
    const std::int64_t step = std::max<std::int64_t>(
        1, staging_.piece_bytes / static_cast<std::int64_t>(flat.element_size()) / copies);
    std::int64_t begin = 0;
    do {
      f(begin, std::min(flat.numel(), begin + step));
      begin += step;
    } while (begin < flat.numel());
  }

  // Host memory of the shape and type of `like`. Kept between calls, and page-locked where a device
  // copies to it: fresh memory of this size costs more than the copy.
  static at::Tensor buffer(at::Tensor& memory, const at::Tensor& like) {
    const auto bytes = like.numel() * static_cast<std::int64_t>(like.element_size());
    if (!memory.defined() || memory.numel() < bytes) {
      memory = at::empty(
          {bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(like.device().is_cuda()));
    }
    return memory.slice(0, 0, bytes).view(like.scalar_type()).view(like.sizes());
  }

  std::unique_ptr<Communicator> transport_;
  Staging staging_;
  at::Tensor first_, second_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged(std::unique_ptr<Communicator> transport,
                                          const Staging& staging) {
  return std::make_unique<StagedCommunicator>(std::move(transport), staging);
}

}  // namespace limbic::parallel
