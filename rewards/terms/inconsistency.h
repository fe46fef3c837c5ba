// `type: inconsistency`: does a completion contradict itself? 1 consistent, 0 inconsistent, not
// applicable when there is nothing to compare. Needs no gold label.
//
// `between: reasoning_answer`  The last emotion word of the reasoning that is not negated ("not
//     sad", "no fear", "rather than joy") must be the answer's emotion.
// `between: au_emotion`  The action units that the reasoning names must fit the answer's emotion:
//     none contradicts it, and unless they are typical of no emotion at all, one is typical of it.
//     Table: configs/labels/au_emotion.yaml, or `au_emotion: FILE`.
// An answer that is no word of `aliases`, or a reasoning without emotion words or action units,
// leaves nothing to compare.
#pragma once

#include "rewards/terms/term.h"

namespace limbic::rewards {

enum class Between { kReasoningAnswer, kAuEmotion };

struct InconsistencyConfig {
  std::string reasoning = "think";  // tag
  std::string answer = "answer";    // tag
  Json aliases = "ekman";
  std::string au_emotion;  // file; empty = the built-in table
  Between between = Between::kReasoningAnswer;
};
void describe(Fields& f, InconsistencyConfig& c);
std::unique_ptr<Term> make_term(const InconsistencyConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
