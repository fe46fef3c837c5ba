// How to wait for what can only be asked again and again: at first without a pause, then giving the
// processor away between the questions, then resting longer and longer.
#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace limbic::parallel {

class Patience {
 public:
  using Clock = std::chrono::steady_clock;

  // Rests only after `yields`.
  explicit Patience(Clock::duration yields) : yields_(yields) {}

  void pause() const {
    const Clock::duration waited = Clock::now() - begin_;
    if (waited < kSpin) return;
    if (waited < yields_) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::clamp(waited / 16, kShortestNap, kLongestNap));
    }
  }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  // Most small messages are there within it.
  static constexpr Clock::duration kSpin = std::chrono::microseconds(50);
  static constexpr Clock::duration kShortestNap = std::chrono::microseconds(50);
  static constexpr Clock::duration kLongestNap = std::chrono::milliseconds(1);

  Clock::duration yields_;
  Clock::time_point begin_ = Clock::now();
};

}  // namespace limbic::parallel
