// Which question goes to an endpoint when, and what happens after a failure: the decisions of
// ChatEndpoint, without any transport. Time is given by the caller.
//
// An endpoint that fails is asked again, after a wait that doubles with jitter, or after the time
// that it names itself (Retry-After), in which nobody asks it anything. A question is given up only
// when its last try failed while the endpoint answered others; an endpoint that answers nothing is
// waited for, up to `unreachable_after_s`.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "trainer/base/fields.h"
#include "trainer/base/seed.h"

namespace limbic::rewards {

struct CallLimits {
  std::int64_t concurrency = 8;          // calls at the same time
  std::int64_t requests_per_minute = 0;  // 0 = no limit
  std::int64_t tokens_per_minute = 0;    // prompt and reply together; 0 = no limit
  double unreachable_after_s = 120.0;    // silence that is waited for
};
void describe(Fields& f, CallLimits& c);

class CallPlan {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Id = std::uint64_t;

  CallPlan(const CallLimits& limits, std::uint64_t seed) : limits_(limits), random_(seed) {}

  // A question, with the number of tokens that it is expected to cost. Requires: a new id.
  void add(Id id, std::int64_t tokens, Time now);

  // The next call to start now, which then counts; empty when there is none.
  std::optional<Id> next(Time now);
  // When `next` or `out_of_patience` may change without a call ending or an `add` before.
  Time wake_at(Time now) const;

  // How a started call ended: exactly one of these per call.
  // With an answer, whatever it says. The question leaves the plan. `tokens`: what it did cost.
  void answered(Id id, std::optional<std::int64_t> tokens, Time now);
  // The endpoint asks for fewer calls; not the question's fault, so it is never given up for it.
  void busy(Id id, std::optional<double> retry_after_s, const std::string& reason, Time now);
  // Without an answer. False: the question is given up and leaves the plan.
  bool lost(Id id, const std::string& reason, Time now);

  // The endpoint has answered nothing for `unreachable_after_s`, since a call failed. The last
  // calls are waited for; new ones are not started then.
  bool out_of_patience(Time now) const;
  const std::string& complaint() const { return complaint_; }
  bool empty() const { return questions_.empty(); }
  // Forgets all questions and failures.
  void clear();

 private:
  struct Question {
    std::int64_t tokens = 0;
    int tries = 0;
    bool running = false;
    Time ready;
    Time first_failure;  // meaningful when tries > 0
  };
  struct Started {
    Time time;
    Id id;
    std::int64_t tokens;
  };

  void forget_old(Time now);
  bool silent_too_long(Time now) const;
  // When the limits per minute allow this many tokens more.
  Time allowed_at(std::int64_t tokens, Time now) const;
  void put_back(Question& question, Time ready, const std::string& reason, Time now);
  std::chrono::steady_clock::duration wait_after(int tries);

  const CallLimits limits_;
  Random random_;
  std::map<Id, Question> questions_;
  std::deque<Started> last_minute_;
  std::int64_t running_ = 0;
  Time paused_until_ = Time::min();
  std::optional<Time> silent_since_;
  std::optional<Time> last_answer_;
  std::string complaint_;
};

}  // namespace limbic::rewards
