#include "rl/eval/judged_steps.h"

#include <fmt/format.h>

#include <numeric>

#include "rewards/pattern.h"
#include "rewards/text.h"

namespace limbic::eval {
namespace {

constexpr double kRecognitionShare = 0.5;  // of cot
constexpr std::string_view kNumber = "\\d+(?:\\.\\d+)?";

class StepReader {
 public:
  StepReader()
      : step_(fmt::format("step\\s*\\d+\\s*:\\s*{0}\\s*/\\s*{0}", kNumber), "steps",
              rewards::Letters::kAnyCase),
        number_(kNumber, "steps") {}

  // One fraction per step; empty when the line cannot be read.
  std::vector<double> read(std::string_view line) const {
    std::vector<double> fractions;
    for (const rewards::Pattern::Match& step : step_.find_all(line)) {
      const std::vector<double> numbers = numbers_of(step.text);  // index, numerator, denominator
      const bool good = numbers.size() == 3 &&
                        numbers[0] == static_cast<double>(fractions.size() + 1) &&
                        numbers[2] > 0.0 && numbers[1] <= numbers[2];
      if (!good) return {};
      fractions.push_back(numbers[1] / numbers[2]);
    }
    return fractions;
  }

 private:
  std::vector<double> numbers_of(std::string_view step) const {
    std::vector<double> numbers;
    for (const rewards::Pattern::Match& match : number_.find_all(step)) {
      if (const auto number = rewards::parse_number(match.text)) numbers.push_back(*number);
    }
    return numbers;
  }

  rewards::Pattern step_;
  rewards::Pattern number_;
};

StepScores scores_of(const std::vector<double>& fractions) {
  StepScores scores;
  scores.recognition = fractions.back();
  if (fractions.size() > 1) {
    scores.reasoning = std::accumulate(fractions.begin(), fractions.end() - 1, 0.0) /
                       static_cast<double>(fractions.size() - 1);
  }
  scores.cot =
      kRecognitionShare * scores.recognition + (1.0 - kRecognitionShare) * scores.reasoning;
  return scores;
}

}  // namespace

JudgedSteps judge_steps(const std::vector<std::string>& lines) {
  const StepReader reader;
  JudgedSteps out;
  StepScores sum;
  for (const std::string& line : lines) {
    const std::vector<double> fractions = reader.read(line);
    if (fractions.empty()) {
      ++out.skipped;
      continue;
    }
    const StepScores scores = scores_of(fractions);
    ++out.judged;
    sum.recognition += scores.recognition;
    sum.reasoning += scores.reasoning;
    sum.cot += scores.cot;
  }
  if (out.judged == 0) return out;
  const auto count = static_cast<double>(out.judged);
  out.mean = StepScores{sum.recognition / count, sum.reasoning / count, sum.cot / count};
  return out;
}

}  // namespace limbic::eval
