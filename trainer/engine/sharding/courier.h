// One thread that runs collectives in the order in which they are posted, while the caller
// computes. Between a post and its wait nobody else uses the communicator.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace limbic::engine {

class Courier {
 public:
  using Ticket = std::uint64_t;

  // Not threaded: work runs where it is posted.
  explicit Courier(bool threaded) : threaded_(threaded) {}
  // Drops what has not begun; waits for what has.
  ~Courier();
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  bool threaded() const { return threaded_; }

  // Work after work that failed is not run.
  Ticket post(std::function<void()> work);
  // Returns when that work and all before it are done. Throws what the first failure threw.
  void wait(Ticket ticket);
  void wait_all() { wait(posted_); }
  // After an error of the caller: nothing more begins. What has begun ends, as the other ranks come
  // to it.
  void cancel() noexcept;

  // Seconds that the caller spent in `wait`, or in work that ran where it was posted, since the
  // last call.
  double take_waited_seconds();

 private:
  void run();

  const bool threaded_;
  std::thread thread_;  // from the first post on
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool running_ = false, closed_ = false;
  std::exception_ptr error_;
  Ticket posted_ = 0, done_ = 0;
  double waited_ = 0.0;
};

}  // namespace limbic::engine
