#include "rewards/service/dispatch_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace limbic::rewards {
namespace {

constexpr int kTriesAfterFailure = 3;
constexpr double kFirstWaitSeconds = 0.1;
constexpr double kLongestWaitSeconds = 2.0;

Clock::duration seconds(double value) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(value));
}

}  // namespace

DispatchPlan::DispatchPlan(std::span<const Completion> batch, const RemoteOptions& options,
                           std::uint64_t seed, Clock::time_point now)
    : options_(options),
      random_(seed),
      workers_(options.workers.size()),
      scores_(batch.size()),
      tries_(batch.size(), 0),
      open_(batch.size()) {
  for (Worker& worker : workers_) worker.ready = now;
  cut(batch, now);
}

// Even shares for the workers, whole groups where they fit into one call.
void DispatchPlan::cut(std::span<const Completion> batch, Clock::time_point now) {
  const auto limit = static_cast<std::size_t>(options_.max_batch);
  const std::size_t share = (batch.size() + workers_.size() - 1) / workers_.size();
  const std::size_t target = std::clamp<std::size_t>(share, 1, limit);
  Chunk chunk{{}, now, std::nullopt};
  const auto flush = [&] {
    if (!chunk.rows.empty()) waiting_.push_back(chunk);
    chunk.rows.clear();
  };
  for (std::size_t begin = 0; begin < batch.size();) {
    std::size_t end = begin + 1;
    while (end < batch.size() && !batch[begin].group.empty() &&
           batch[end].group == batch[begin].group) {
      ++end;
    }
    if (chunk.rows.size() + (end - begin) > limit) flush();
    for (; begin < end; ++begin) {
      if (chunk.rows.size() == limit) flush();
      chunk.rows.push_back(begin);
    }
    if (chunk.rows.size() >= target) flush();
  }
  flush();
}

bool DispatchPlan::another_is_up(std::size_t worker) const {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (i != worker && workers_[i].failures == 0) return true;
  }
  return false;
}

std::optional<std::size_t> DispatchPlan::worker_for(const Chunk& chunk,
                                                    Clock::time_point now) const {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const Worker& worker = workers_[i];
    if (worker.busy || worker.ready > now) continue;
    if (chunk.avoid == i && another_is_up(i)) continue;
    if (!best || worker.failures < workers_[*best].failures) best = i;
  }
  return best;
}

std::optional<DispatchPlan::Assignment> DispatchPlan::next(Clock::time_point now) {
  for (auto chunk = waiting_.begin(); chunk != waiting_.end(); ++chunk) {
    if (chunk->ready > now) continue;
    const std::optional<std::size_t> worker = worker_for(*chunk, now);
    if (!worker) continue;
    Assignment assignment{*worker, std::move(*chunk)};
    waiting_.erase(chunk);
    workers_[*worker].busy = true;
    return assignment;
  }
  return std::nullopt;
}

Clock::time_point DispatchPlan::wake_at(Clock::time_point now) const {
  Clock::time_point wake = now + seconds(options_.unreachable_after_s);
  bool all_down = true;
  Clock::time_point down_since = Clock::time_point::min();
  for (const Worker& worker : workers_) {
    if (!worker.busy && worker.ready > now) wake = std::min(wake, worker.ready);
    all_down = all_down && worker.failures > 0;
    down_since = std::max(down_since, worker.down_since);
  }
  if (all_down) wake = std::min(wake, down_since + seconds(options_.unreachable_after_s));
  for (const Chunk& chunk : waiting_) {
    if (chunk.ready > now) wake = std::min(wake, chunk.ready);
  }
  return wake;
}

Clock::duration DispatchPlan::wait_after(int failures) {
  const double wait =
      std::min(kFirstWaitSeconds * std::exp2(std::min(failures, 16) - 1), kLongestWaitSeconds);
  return seconds(wait * (0.5 + random_.uniform()));
}

void DispatchPlan::lost(Assignment assignment, const std::string& reason, Clock::time_point now) {
  Worker& worker = workers_[assignment.worker];
  worker.busy = false;
  if (worker.failures++ == 0) worker.down_since = now;
  worker.ready = now + wait_after(worker.failures);
  worker.complaint = reason;
  assignment.chunk.ready = now;
  assignment.chunk.avoid = assignment.worker;
  waiting_.push_front(std::move(assignment.chunk));
}

void DispatchPlan::answered(const Assignment& assignment) {
  Worker& worker = workers_[assignment.worker];
  worker.busy = false;
  worker.failures = 0;
}

void DispatchPlan::halve(Assignment assignment, Clock::time_point now) {
  workers_[assignment.worker].busy = false;
  const auto& rows = assignment.chunk.rows;
  const auto middle = rows.begin() + static_cast<std::ptrdiff_t>(rows.size() / 2);
  waiting_.push_front({{middle, rows.end()}, now, std::nullopt});
  waiting_.push_front({{rows.begin(), middle}, now, std::nullopt});
}

void DispatchPlan::settle(std::size_t row, Score score, std::size_t worker, Clock::time_point now) {
  if (score.status != Status::kFailed || tries_[row] == kTriesAfterFailure) {
    settle_finally(row, std::move(score));
    return;
  }
  ++tries_[row];
  scores_[row] = std::move(score);
  // Rows that failed together are asked for together.
  const bool joins = !waiting_.empty() && waiting_.back().avoid == worker &&
                     waiting_.back().ready > now &&
                     tries_[waiting_.back().rows.front()] == tries_[row] &&
                     waiting_.back().rows.size() < static_cast<std::size_t>(options_.max_batch);
  if (joins) {
    waiting_.back().rows.push_back(row);
  } else {
    waiting_.push_back({{row}, now + wait_after(tries_[row]), worker});
  }
}

void DispatchPlan::settle_finally(std::size_t row, Score score) {
  scores_[row] = std::move(score);
  --open_;
}

bool DispatchPlan::out_of_patience(Clock::time_point now) const {
  return std::all_of(workers_.begin(), workers_.end(), [&](const Worker& worker) {
    return worker.failures > 0 && now - worker.down_since >= seconds(options_.unreachable_after_s);
  });
}

std::string DispatchPlan::complaints() const {
  std::string text;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    text += fmt::format("{}{} ({})", i == 0 ? "" : ", ", options_.workers[i],
                        workers_[i].complaint.empty() ? "no reason" : workers_[i].complaint);
  }
  return text;
}

}  // namespace limbic::rewards
