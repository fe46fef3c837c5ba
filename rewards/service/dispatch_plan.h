// Which completions go to which worker, when, and what happens after a failure: the decisions of
// RemoteScorer for one batch, without any transport. Time is given by the caller.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewards/score.h"
#include "rewards/service/remote_scorer.h"
#include "trainer/base/seed.h"

namespace limbic::rewards {

using Clock = std::chrono::system_clock;  // as gRPC's deadlines

class DispatchPlan {
 public:
  // Requires: at least one worker; the batch outlives the plan.
  DispatchPlan(std::span<const Completion> batch, const RemoteOptions& options, std::uint64_t seed,
               Clock::time_point now);

  // Rows of the batch for one call to one worker.
  struct Chunk {
    std::vector<std::size_t> rows;
    Clock::time_point ready;
    std::optional<std::size_t> avoid;  // the worker that just failed with it
  };
  struct Assignment {
    std::size_t worker = 0;
    Chunk chunk;
  };

  // The next call to start now, which makes its worker busy; empty when there is none.
  std::optional<Assignment> next(Clock::time_point now);
  // When `next` may have something without a call ending before, or when patience ends.
  Clock::time_point wake_at(Clock::time_point now) const;

  // How a call ended: exactly one of these per assignment.
  void lost(Assignment assignment, const std::string& reason, Clock::time_point now);
  void answered(const Assignment& assignment);
  // The chunk was too large to send: it goes out again in two halves. Requires: two rows or more.
  void halve(Assignment assignment, Clock::time_point now);

  // The outcome of a row in an answered call. A failed score is asked for again, elsewhere, up to 3
  // times.
  void settle(std::size_t row, Score score, std::size_t worker, Clock::time_point now);
  // As `settle`, for good.
  void settle_finally(std::size_t row, Score score);

  bool done() const { return open_ == 0; }
  // Every worker has been silent for `unreachable_after_s`.
  bool out_of_patience(Clock::time_point now) const;
  // "ADDRESS (REASON), ..." of all workers.
  std::string complaints() const;
  std::vector<Score> take_scores() { return std::move(scores_); }

 private:
  struct Worker {
    bool busy = false;
    int failures = 0;  // in a row
    Clock::time_point ready;
    Clock::time_point down_since;  // meaningful when failures > 0
    std::string complaint;
  };

  void cut(std::span<const Completion> batch, Clock::time_point now);
  std::optional<std::size_t> worker_for(const Chunk& chunk, Clock::time_point now) const;
  bool another_is_up(std::size_t worker) const;
  Clock::duration wait_after(int failures);

  const RemoteOptions options_;
  Random random_;
  std::vector<Worker> workers_;
  std::deque<Chunk> waiting_;
  std::vector<Score> scores_;
  std::vector<int> tries_;  // failed outcomes per row
  std::size_t open_ = 0;
};

}  // namespace limbic::rewards
