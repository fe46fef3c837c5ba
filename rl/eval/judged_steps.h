// What a judge says about the steps of an answer, in the form of MME-Emotion (2025) and with the
// figures of its published evaluation: one fraction per step, the last step being the emotion that
// was recognised, as in "Step 1: 1/1, Step 2: 0/1, Step 3: 2/4".
//
//   Rec = the last fraction      Rea = mean of the others, 0 without others      CoT = mean of both
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace limbic::eval {

struct StepScores {
  double recognition = 0.0;
  double reasoning = 0.0;
  double cot = 0.0;
};

// Over lines; one without steps, with steps that are not numbered 1, 2, ..., or with a fraction
// outside 0 to 1 cannot be read and is in no figure.
struct JudgedSteps {
  std::int64_t judged = 0;
  std::int64_t skipped = 0;
  std::optional<StepScores> mean;  // over what was judged; empty for nothing
};

JudgedSteps judge_steps(const std::vector<std::string>& lines);

}  // namespace limbic::eval
