// N ranks in one process. A collective is: everybody posts its call and a pointer, everybody meets,
// everybody reads what it needs, everybody parts.
#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>

#include "trainer/base/error.h"
#include "trainer/parallel/call.h"
#include "trainer/parallel/communicator.h"

namespace limbic::parallel {
namespace {

class ThreadWorld {
 public:
  // `whole`: the world that this is a group of.
  ThreadWorld(int size, double timeout_s, ThreadWorld* whole = nullptr)
      : whole_(whole),
        calls_(static_cast<std::size_t>(size)),
        data_(calls_.size()),
        here_(calls_.size()),
        timeout_s_(timeout_s) {}

  int size() const { return static_cast<int>(calls_.size()); }

  // Returns when every rank has come, with its call and data posted: the ranks that did not in
  // `seconds`. Throws CommError when the world was aborted. Who meets all must call `part`.
  std::vector<int> meet(int rank, const Call& call, const void* data, double seconds) {
    std::unique_lock lock(mutex_);
    fail_if_aborted();
    const auto me = static_cast<std::size_t>(rank);
    calls_[me] = call;
    data_[me] = data;
    here_[me] = true;
    if (arrive()) return {};
    const std::uint64_t round = round_;
    changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                      [&] { return round_ != round || !abort_reason_.empty(); });
    if (round_ != round) return {};
    --arrived_;
    here_[me] = false;
    fail_if_aborted();
    std::vector<int> missing;
    for (int r = 0; r < size(); ++r) {
      if (r != rank && !here_[static_cast<std::size_t>(r)]) missing.push_back(r);
    }
    return missing;
  }
  // Returns when every rank has read what it needs. No timeout: whoever met comes here.
  void part() {
    std::unique_lock lock(mutex_);
    if (arrive()) return;
    const std::uint64_t round = round_;
    changed_.wait(lock, [&] { return round_ != round; });
  }

  // Between `meet` and `part` only.
  const std::vector<Call>& calls() const { return calls_; }
  const void* data(int rank) const { return data_[static_cast<std::size_t>(rank)]; }

  // A part of this world, which ends with it. Its lifetime is that of this world.
  ThreadWorld& add_group(int size) {
    const std::lock_guard lock(mutex_);
    groups_.push_back(std::make_unique<ThreadWorld>(size, timeout_s_, this));
    return *groups_.back();
  }

  void abort(const std::string& reason) {
    if (whole_ != nullptr) return whole_->abort(reason);
    end(reason);
  }
  double timeout_s() const {
    const std::lock_guard lock(mutex_);
    return timeout_s_;
  }
  void set_timeout(double seconds) {
    const std::lock_guard lock(mutex_);
    timeout_s_ = seconds;
  }

 private:
  void end(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (abort_reason_.empty()) abort_reason_ = reason;
    changed_.notify_all();
    for (const auto& group : groups_) group->end(reason);
  }
  void fail_if_aborted() const {
    if (!abort_reason_.empty()) throw CommError(abort_reason_);
  }
  // True for the last one, which opens the next round.
  bool arrive() {
    if (++arrived_ < calls_.size()) return false;
    arrived_ = 0;
    here_.assign(here_.size(), false);
    ++round_;
    changed_.notify_all();
    return true;
  }

  ThreadWorld* whole_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<ThreadWorld>> groups_;
  std::vector<Call> calls_;
  std::vector<const void*> data_;
  std::vector<bool> here_;  // has come to this round
  std::size_t arrived_ = 0;
  std::uint64_t round_ = 0;
  std::string abort_reason_;
  double timeout_s_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadWorld> world, int rank, std::string group = "")
      : world_(std::move(world)), rank_(rank), group_(std::move(group)) {}

  int rank() const override { return rank_; }
  int size() const override { return world_->size(); }

  void all_reduce_sum(at::Tensor tensor) override {
    at::Tensor sum;
    exchange(all_reduce_call(tensor), &tensor, [&] { sum = sum_of_all(0, tensor.numel()); });
    tensor.view({-1}).copy_(sum);
  }
  void reduce_scatter_sum(const at::Tensor& input, at::Tensor output) override {
    at::Tensor sum;
    exchange(reduce_scatter_call(input, output, size()), &input,
             [&] { sum = sum_of_all(rank_ * output.numel(), output.numel()); });
    output.view({-1}).copy_(sum);
  }
  void all_gather(const at::Tensor& input, at::Tensor output) override {
    exchange(all_gather_call(input, output, size()), &input, [&] {
      for (int r = 0; r < size(); ++r) {
        at::Tensor shard = output.view({-1}).slice(0, r * input.numel(), (r + 1) * input.numel());
        const auto& theirs = posted<at::Tensor>(r);
        if (shard.data_ptr() != theirs.data_ptr()) shard.copy_(theirs.view({-1}));
      }
    });
  }
  void broadcast(at::Tensor tensor, int root) override {
    exchange(broadcast_call(tensor, root, size()), &tensor, [&] {
      if (rank_ != root) tensor.copy_(posted<at::Tensor>(root));
    });
  }
  std::int64_t meet(const Call& call) override {
    exchange(call, nullptr, [] {});
    return number_;
  }
  bool everyone_arrives(double seconds) override {
    try {
      if (!world_->meet(rank_, {.kind = CallKind::kEnd}, nullptr, seconds).empty()) return false;
    } catch (const CommError&) {
      return false;
    }
    const bool all_end = disagreement(world_->calls()).empty();
    world_->part();
    return all_end;
  }
  void set_timeout(double seconds) override { world_->set_timeout(seconds); }
  std::vector<std::string> all_gather_bytes(const std::string& mine) override {
    std::vector<std::string> all;
    const auto bytes = static_cast<std::int64_t>(mine.size());
    exchange({.kind = CallKind::kAllGatherBytes, .bytes = bytes}, &mine, [&] {
      for (int r = 0; r < size(); ++r) all.push_back(posted<std::string>(r));
    });
    return all;
  }
  std::unique_ptr<Communicator> split(int color) override {
    std::vector<int> members;
    exchange({.kind = CallKind::kSplit}, &color, [&] {
      for (int r = 0; r < size(); ++r) {
        if (posted<int>(r) == color) members.push_back(r);
      }
    });
    ThreadWorld* group = nullptr;
    if (members[0] == rank_) group = &world_->add_group(static_cast<int>(members.size()));
    exchange({.kind = CallKind::kSplit}, &group, [&] { group = posted<ThreadWorld*>(members[0]); });
    const auto mine = std::find(members.begin(), members.end(), rank_) - members.begin();
    return std::make_unique<ThreadCommunicator>(std::shared_ptr<ThreadWorld>(world_, group),
                                                static_cast<int>(mine),
                                                fmt::format(" of group {}", color));
  }
  void abort(const std::string& reason, int) override {
    world_->abort(fmt::format("rank {}{}: {}", rank_, group_, reason));
  }

 private:
  template <class Read>
  void exchange(const Call& call, const void* data, Read read) {
    const double seconds = world_->timeout_s();
    ++number_;
    if (const auto missing = world_->meet(rank_, call, data, seconds); !missing.empty()) {
      // Those who come later must not wait for this rank again.
      const std::string reason =
          fmt::format("{}{}: rank {} did not come within {} s (parallel.timeout_s)",
                      place_of(call, number_, rank_), group_, fmt::join(missing, " and "), seconds);
      world_->abort(reason);
      throw CommError(reason);
    }
    std::exception_ptr failure;
    try {
      const std::string difference = disagreement(world_->calls());
      if (!difference.empty()) throw CommError(difference + group_);
      read();
    } catch (...) {
      failure = std::current_exception();
    }
    world_->part();
    if (failure) std::rethrow_exception(failure);
  }
  template <class T>
  const T& posted(int rank) const {
    return *static_cast<const T*>(world_->data(rank));
  }
  // In rank order, so that every rank gets the same bits.
  at::Tensor sum_of_all(std::int64_t begin, std::int64_t count) const {
    const auto values = [&](int rank) {
      return posted<at::Tensor>(rank).view({-1}).slice(0, begin, begin + count);
    };
    at::Tensor sum = values(0).to(sum_type(values(0).scalar_type()), false, /*copy=*/true);
    for (int r = 1; r < size(); ++r) sum.add_(values(r));
    return sum;
  }

  std::shared_ptr<ThreadWorld> world_;
  int rank_;
  std::string group_;        // what messages add to the rank
  std::int64_t number_ = 0;  // of this rank's call
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_threads(int size, double timeout_s) {
  auto world = std::make_shared<ThreadWorld>(size, timeout_s);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int r = 0; r < size; ++r) ranks.push_back(std::make_unique<ThreadCommunicator>(world, r));
  return ranks;
}

}  // namespace limbic::parallel
