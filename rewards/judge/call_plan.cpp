#include "rewards/judge/call_plan.h"

#include <algorithm>
#include <cmath>

#include "trainer/base/error.h"

namespace limbic::rewards {
namespace {

constexpr int kTries = 4;
constexpr double kFirstWaitSeconds = 0.2;
constexpr double kLongestWaitSeconds = 8.0;
constexpr double kLongestPauseSeconds = 3600.0;
constexpr std::chrono::seconds kWindow{60};

CallPlan::Time::duration seconds(double value) {
  return std::chrono::duration_cast<CallPlan::Time::duration>(std::chrono::duration<double>(value));
}

}  // namespace

void CallPlan::add(Id id, std::int64_t tokens, Time now) {
  Question question;
  question.tokens = tokens;
  question.ready = now;
  check(questions_.emplace(id, question).second, "two questions of one id");
}

void CallPlan::forget_old(Time now) {
  while (!last_minute_.empty() && last_minute_.front().time + kWindow <= now) {
    last_minute_.pop_front();
  }
}

CallPlan::Time CallPlan::allowed_at(std::int64_t tokens, Time now) const {
  Time at = std::max(now, paused_until_);
  if (limits_.requests_per_minute == 0 && limits_.tokens_per_minute == 0) return at;
  std::int64_t sum = tokens;
  for (const Started& call : last_minute_) sum += call.tokens;
  auto count = static_cast<std::int64_t>(last_minute_.size());
  // The oldest calls leave the window until both limits hold; a question above the limit of tokens
  // goes out alone.
  for (const Started& call : last_minute_) {
    const bool requests = limits_.requests_per_minute == 0 || count < limits_.requests_per_minute;
    const bool fits = limits_.tokens_per_minute == 0 || sum <= limits_.tokens_per_minute;
    if (requests && fits) break;
    at = std::max(at, call.time + kWindow);
    --count;
    sum -= call.tokens;
  }
  return at;
}

std::optional<CallPlan::Id> CallPlan::next(Time now) {
  if (running_ >= limits_.concurrency || silent_too_long(now)) return std::nullopt;
  forget_old(now);
  for (auto& [id, question] : questions_) {
    if (question.running || question.ready > now) continue;
    if (allowed_at(question.tokens, now) > now) continue;
    question.running = true;
    ++running_;
    last_minute_.push_back({now, id, question.tokens});
    return id;
  }
  return std::nullopt;
}

CallPlan::Time CallPlan::wake_at(Time now) const {
  if (silent_too_long(now)) return running_ == 0 ? now : Time::max();
  Time wake = Time::max();
  if (silent_since_) wake = *silent_since_ + seconds(limits_.unreachable_after_s);
  if (running_ >= limits_.concurrency) return wake;
  for (const auto& [id, question] : questions_) {
    if (question.running) continue;
    wake = std::min(wake, std::max(question.ready, allowed_at(question.tokens, now)));
  }
  return wake;
}

void CallPlan::answered(Id id, std::optional<std::int64_t> tokens, Time now) {
  check(questions_.erase(id) == 1, "an answer to no question");
  --running_;
  silent_since_.reset();
  last_answer_ = now;
  if (!tokens) return;
  for (auto call = last_minute_.rbegin(); call != last_minute_.rend(); ++call) {
    if (call->id != id) continue;
    call->tokens = *tokens;
    return;
  }
}

void CallPlan::put_back(Question& question, Time ready, const std::string& reason, Time now) {
  question.running = false;
  question.ready = ready;
  --running_;
  if (!silent_since_) silent_since_ = now;
  complaint_ = reason;
}

void CallPlan::busy(Id id, std::optional<double> retry_after_s, const std::string& reason,
                    Time now) {
  Question& question = questions_.at(id);
  const Time ready = now + (retry_after_s ? seconds(std::min(*retry_after_s, kLongestPauseSeconds))
                                          : wait_after(1));
  paused_until_ = std::max(paused_until_, ready);
  put_back(question, ready, reason, now);
}

bool CallPlan::lost(Id id, const std::string& reason, Time now) {
  Question& question = questions_.at(id);
  if (question.tries++ == 0) question.first_failure = now;
  const bool others_live = last_answer_ && *last_answer_ >= question.first_failure;
  put_back(question, now + wait_after(question.tries), reason, now);
  if (question.tries < kTries || !others_live) return true;
  questions_.erase(id);
  return false;
}

CallPlan::Time::duration CallPlan::wait_after(int tries) {
  const double wait =
      std::min(kFirstWaitSeconds * std::exp2(std::min(tries, 16) - 1), kLongestWaitSeconds);
  return seconds(wait * (0.5 + random_.uniform()));
}

bool CallPlan::silent_too_long(Time now) const {
  return silent_since_ && now - *silent_since_ >= seconds(limits_.unreachable_after_s);
}

bool CallPlan::out_of_patience(Time now) const {
  return !questions_.empty() && running_ == 0 && silent_too_long(now);
}

void CallPlan::clear() {
  questions_.clear();
  running_ = 0;
  silent_since_.reset();
  paused_until_ = Time::min();
}

void describe(Fields& f, CallLimits& c) {
  f.field("concurrency", c.concurrency, "calls at the same time", Bounds::between(1, 1024));
  f.field("requests_per_minute", c.requests_per_minute, "calls in any minute; 0 = no limit",
          Bounds::at_least(0));
  f.field("tokens_per_minute", c.tokens_per_minute,
          "tokens of prompts and replies in any minute; 0 = no limit", Bounds::at_least(0));
  f.field("unreachable_after_s", c.unreachable_after_s,
          "seconds without any answer after which the run stops (it can be resumed)",
          Bounds::positive());
}

}  // namespace limbic::rewards
