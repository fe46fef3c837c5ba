// What a person sees of a running stage on stderr: one line that is redrawn on a terminal, a plain
// line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace limbic::metrics {

class Progress {
 public:
  // `enabled` false (ranks other than 0, --quiet): silent. `terminal`: redraw one line.
  Progress(bool enabled, bool terminal);

  // `headline` names the number shown: "loss", "reward", or "" for none.
  void begin(const std::string& stage, std::int64_t done_steps, std::int64_t total_steps,
             const std::string& headline);
  // After `step` steps. `tokens` of this step, `seconds` that it took. The ETA is from a moving
  // average of the step time.
  void step(std::int64_t step, double value, std::int64_t tokens, double seconds);
  // Ends the line; safe to call twice.
  void end();

 private:
  std::string line(std::int64_t step, double value) const;

  bool enabled_;
  bool terminal_;
  bool open_ = false;
  std::string stage_, headline_;
  std::int64_t total_ = 0;
  std::int64_t last_step_ = 0;
  double average_seconds_ = 0.0;  // per step
  double average_rate_ = 0.0;     // tokens per second
  std::chrono::steady_clock::time_point last_plain_;
};

// "1h02m", "3m05s", "12s".
std::string duration_in_words(double seconds);

}  // namespace limbic::metrics
