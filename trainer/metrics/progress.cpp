#include "trainer/metrics/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iostream>

namespace limbic::metrics {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPlainInterval = std::chrono::seconds(10);
constexpr double kAverageShare = 0.1;  // of the newest step in the moving average
constexpr int kBarWidth = 20;

}  // namespace

std::string duration_in_words(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

Progress::Progress(bool enabled, bool terminal) : enabled_(enabled), terminal_(terminal) {}

void Progress::begin(const std::string& stage, std::int64_t done_steps, std::int64_t total_steps,
                     const std::string& headline) {
  end();
  stage_ = stage;
  headline_ = headline;
  total_ = total_steps;
  last_step_ = done_steps;
  average_seconds_ = 0.0;
  average_rate_ = 0.0;
  open_ = true;
}

void Progress::step(std::int64_t step, double value, std::int64_t tokens, double seconds) {
  if (!enabled_ || !open_) return;
  const bool first = average_seconds_ == 0.0;
  const double each = seconds / static_cast<double>(std::max<std::int64_t>(1, step - last_step_));
  last_step_ = step;
  const double rate = static_cast<double>(tokens) / std::max(seconds, 1e-9);
  average_seconds_ = first ? each : (1.0 - kAverageShare) * average_seconds_ + kAverageShare * each;
  average_rate_ = first ? rate : (1.0 - kAverageShare) * average_rate_ + kAverageShare * rate;
  if (terminal_) {
    std::cerr << "\r\x1b[2K" << line(step, value) << std::flush;
    return;
  }
  const auto now = Clock::now();
  if (!first && step != total_ && now - last_plain_ < kPlainInterval) return;
  last_plain_ = now;
  std::cerr << line(step, value) << "\n" << std::flush;
}

void Progress::end() {
  if (enabled_ && open_ && terminal_ && average_seconds_ > 0.0) std::cerr << "\n" << std::flush;
  open_ = false;
}

std::string Progress::line(std::int64_t step, double value) const {
  std::string text = fmt::format("{} {}/{}", stage_, step, total_);
  if (terminal_) {
    const auto filled = static_cast<int>(kBarWidth * step / std::max<std::int64_t>(1, total_));
    text += fmt::format(" [{:<{}}]", std::string(static_cast<std::size_t>(filled), '='), kBarWidth);
  }
  if (!headline_.empty()) text += fmt::format(" {} {:.4f}", headline_, value);
  text += fmt::format(" | {:.0f} tok/s", average_rate_);
  if (step < total_) {
    text += fmt::format(" | ETA {}",
                        duration_in_words(average_seconds_ * static_cast<double>(total_ - step)));
  }
  return text;
}

}  // namespace limbic::metrics
