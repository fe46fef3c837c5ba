// Plays the ranks of a world on threads of the test.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "trainer/parallel/communicator.h"

namespace limbic::parallel {

inline constexpr double kTestTimeoutSeconds = 20.0;  // a test that reaches it has failed

// Runs `play(communicator)` on all ranks. Element r is what rank r threw, null when it threw
// nothing.
template <class Play>
std::vector<std::exception_ptr> outcomes_of_world(
    const std::vector<std::unique_ptr<Communicator>>& world, Play play) {
  std::vector<std::exception_ptr> outcomes(world.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < world.size(); ++r) {
    threads.emplace_back([&, r] {
      try {
        play(*world[r]);
      } catch (...) {
        outcomes[r] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

template <class Play>
std::vector<std::exception_ptr> outcomes_of_ranks(int size, Play play,
                                                  double timeout_s = kTestTimeoutSeconds) {
  return outcomes_of_world(make_threads(size, timeout_s), play);
}

// Throws what the lowest failing rank threw.
inline void rethrow_first(const std::vector<std::exception_ptr>& outcomes) {
  for (const auto& outcome : outcomes) {
    if (outcome) std::rethrow_exception(outcome);
  }
}
template <class Play>
void run_ranks(int size, Play play, double timeout_s = kTestTimeoutSeconds) {
  rethrow_first(outcomes_of_ranks(size, play, timeout_s));
}

// The message when the outcome is of exactly this type, else what came instead.
template <class E>
std::string message_of_outcome(const std::exception_ptr& outcome) {
  if (!outcome) return "no error";
  try {
    std::rethrow_exception(outcome);
  } catch (const std::exception& error) {
    if (typeid(error) == typeid(E)) return error.what();
    return std::string("another type: ") + error.what();
  } catch (...) {
    return "not an exception";
  }
}

}  // namespace limbic::parallel
