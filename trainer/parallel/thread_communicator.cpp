// N ranks in one process. A collective is: everybody posts a pointer, everybody waits, everybody
// reads what it needs, everybody waits again.
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "trainer/base/error.h"
#include "trainer/parallel/communicator.h"

namespace limbic::parallel {
namespace {

class ThreadWorld {
 public:
  ThreadWorld(int size, double timeout_s)
      : posts_(static_cast<std::size_t>(size)), timeout_s_(timeout_s) {}

  int size() const { return static_cast<int>(posts_.size()); }

  // Throws CommError when the world was aborted or a rank does not come in time.
  void wait(const char* what, double seconds) {
    std::unique_lock lock(mutex_);
    fail_if_aborted();
    const std::uint64_t round = round_;
    if (++arrived_ == posts_.size()) {
      arrived_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    const bool in_time = changed_.wait_for(lock, std::chrono::duration<double>(seconds), [&] {
      return round_ != round || !abort_reason_.empty();
    });
    if (round_ != round) return;
    fail_if_aborted();
    if (in_time) return;
    --arrived_;
    throw CommError(
        fmt::format("{}: not all of {} ranks came within {} s", what, posts_.size(), seconds));
  }
  void wait(const char* what) { wait(what, timeout_s()); }

  const void*& post(int rank) { return posts_[static_cast<std::size_t>(rank)]; }

  void abort(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (abort_reason_.empty()) abort_reason_ = reason;
    changed_.notify_all();
  }
  double timeout_s() const { return timeout_s_; }
  void set_timeout(double seconds) { timeout_s_ = seconds; }

 private:
  void fail_if_aborted() const {
    if (!abort_reason_.empty()) throw CommError(abort_reason_);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<const void*> posts_;
  std::size_t arrived_ = 0;
  std::uint64_t round_ = 0;
  std::string abort_reason_;
  std::atomic<double> timeout_s_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadWorld> world, int rank)
      : world_(std::move(world)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return world_->size(); }

  void all_reduce_sum(at::Tensor tensor) override {
    const at::Tensor sum = sum_of_all("all_reduce_sum", tensor, 0, tensor.numel());
    tensor.view({-1}).copy_(sum);
  }
  void reduce_scatter_sum(const at::Tensor& input, at::Tensor output) override {
    check(input.numel() == output.numel() * size(), "reduce_scatter sizes");
    output.view({-1}).copy_(
        sum_of_all("reduce_scatter_sum", input, rank_ * output.numel(), output.numel()));
  }
  void all_gather(const at::Tensor& input, at::Tensor output) override {
    check(output.numel() == input.numel() * size(), "all_gather sizes");
    post("all_gather", &input);
    for (int r = 0; r < size(); ++r) {
      output.view({-1})
          .slice(0, r * input.numel(), (r + 1) * input.numel())
          .copy_(posted<at::Tensor>(r).view({-1}));
    }
    world_->wait("all_gather");
  }
  void broadcast(at::Tensor tensor, int root) override {
    post("broadcast", &tensor);
    if (rank_ != root) tensor.copy_(posted<at::Tensor>(root));
    world_->wait("broadcast");
  }
  void barrier() override { world_->wait("barrier"); }
  bool everyone_arrives(double seconds) override {
    try {
      world_->wait("end", seconds);
      return true;
    } catch (const CommError&) {
      return false;
    }
  }
  void set_timeout(double seconds) override { world_->set_timeout(seconds); }
  std::vector<std::string> all_gather_bytes(const std::string& mine) override {
    post("all_gather_bytes", &mine);
    std::vector<std::string> all;
    for (int r = 0; r < size(); ++r) all.push_back(posted<std::string>(r));
    world_->wait("all_gather_bytes");
    return all;
  }
  void abort(const std::string& reason, int) override {
    world_->abort(fmt::format("rank {}: {}", rank_, reason));
  }

 private:
  void post(const char* what, const void* value) {
    world_->post(rank_) = value;
    world_->wait(what);
  }
  template <class T>
  const T& posted(int rank) const {
    return *static_cast<const T*>(world_->post(rank));
  }
  // In rank order, so that every rank gets the same bits.
  at::Tensor sum_of_all(const char* what, const at::Tensor& mine, std::int64_t begin,
                        std::int64_t count) {
    check(mine.is_contiguous(), "collectives take contiguous tensors");
    post(what, &mine);
    at::Tensor sum = posted<at::Tensor>(0).view({-1}).slice(0, begin, begin + count).clone();
    for (int r = 1; r < size(); ++r) {
      sum.add_(posted<at::Tensor>(r).view({-1}).slice(0, begin, begin + count));
    }
    world_->wait(what);
    return sum;
  }

  std::shared_ptr<ThreadWorld> world_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_threads(int size, double timeout_s) {
  auto world = std::make_shared<ThreadWorld>(size, timeout_s);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int r = 0; r < size; ++r) ranks.push_back(std::make_unique<ThreadCommunicator>(world, r));
  return ranks;
}

}  // namespace limbic::parallel
