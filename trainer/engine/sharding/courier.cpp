#include "trainer/engine/sharding/courier.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/ParallelGuard.h>

#include <chrono>
#include <utility>

namespace limbic::engine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

Courier::~Courier() {
  cancel();
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Courier::Ticket Courier::post(std::function<void()> work) {
  if (!threaded_) {
    const auto start = Clock::now();
    const at::NoGradGuard no_grad;
    work();
    waited_ += seconds_since(start);
    return done_ = ++posted_;
  }
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  queue_.push_back(std::move(work));
  changed_.notify_all();
  return ++posted_;
}

void Courier::run() {
  // The cores belong to the passes.
  const c10::ParallelGuard alone(true);
  const at::NoGradGuard no_grad;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return closed_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::function<void()> work = std::move(queue_.front());
    queue_.pop_front();
    running_ = true;
    const bool failed = error_ != nullptr;
    lock.unlock();
    std::exception_ptr error;
    try {
      if (!failed) work();
    } catch (...) {
      error = std::current_exception();
    }
    work = nullptr;
    lock.lock();
    running_ = false;
    if (error) error_ = error;
    ++done_;
    changed_.notify_all();
  }
}

void Courier::wait(Ticket ticket) {
  if (!threaded_) return;
  const auto start = Clock::now();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ >= ticket || error_ != nullptr; });
  waited_ += seconds_since(start);
  if (error_) std::rethrow_exception(error_);
}

void Courier::cancel() noexcept {
  std::unique_lock lock(mutex_);
  done_ += queue_.size();
  queue_.clear();
  changed_.wait(lock, [&] { return !running_; });
}

double Courier::take_waited_seconds() { return std::exchange(waited_, 0.0); }

}  // namespace limbic::engine
