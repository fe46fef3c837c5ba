// `type: judge`: language models rate a completion by a rubric (LLM-as-judge).
//
// The value is the rubric's share (verdict.h), the mean over the judges, mapped to `scale_to`. Per
// judge, `votes` verdicts with different seeds are averaged item by item. Reported beside the
// value: every item (axes in their own scale, criteria and vetoes as the share of yes), with
// several judges each judge's share, and with several verdicts their agreement.
//
// Texts that no judge has to see have the lowest value at once: no region, or fewer letters and
// digits than `min_letters`. A reply that is no verdict is asked for again, with another seed,
// delimiter and ticket; what stays without a verdict is failed, with the reason.
#pragma once

#include <string>
#include <vector>

#include "rewards/judge/verdict.h"
#include "rewards/terms/term.h"

namespace limbic::rewards {

struct JudgeConfig {
  std::string rubric;                 // name or file
  std::vector<std::string> endpoint;  // names under `rewards.endpoints`
  std::int64_t votes = 1;
  std::int64_t retries = 2;  // after a reply that is no verdict
  Aggregate aggregate = Aggregate::kMean;
  Json scale_to = Json::array({0, 1});
  std::vector<std::string> region;
  bool conversation = true;          // show the prompt's messages
  std::vector<std::string> columns;  // of the row, shown to the judge
  std::int64_t min_letters = 1;
  std::string cache;  // file of verdicts
};
void describe(Fields& f, JudgeConfig& c);
std::unique_ptr<Term> make_term(const JudgeConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
