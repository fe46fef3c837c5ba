// `type: confidence`: is the confidence c that the completion states about its answer honest?
// With i = 1 for a right answer and 0 for a wrong one (scoring rules; arXiv:2507.16806 for rlcr):
//   log    i ln c + (1 - i) ln(1 - c), with c kept inside [clip, 1 - clip]
//   brier  -(c - i)^2
//   rlcr   i - (c - i)^2
// times `scale`. c is a plain number of 0 to 1 in the last complete pair of the tag `confidence`;
// anything else gives `invalid` (not scaled), by default scale times the worst value of the rule:
// ln(clip), -1 and -1.
//
// Right is what another term of the graph says (`right: NAME`: its value before weight and clamp is
// above 0), or what `column`, `region` and `aliases` say as in `label`. Whatever makes the verdict
// not applicable or failed does the same to the confidence.
#pragma once

#include <optional>

#include "rewards/terms/label.h"
#include "rewards/terms/term.h"

namespace limbic::rewards {

enum class ConfidenceRule { kLog, kBrier, kRlcr };

struct ConfidenceConfig {
  std::string confidence = "confidence";
  std::string right;
  MatchConfig match;
  ConfidenceRule rule = ConfidenceRule::kLog;
  double clip = 0.01;
  double scale = 1.0;
  std::optional<double> invalid;
};
void describe(Fields& f, ConfidenceConfig& c);
std::unique_ptr<Term> make_term(const ConfidenceConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
