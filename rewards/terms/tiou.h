// `type: tiou`: how much of a stretch of time does the completion find? Temporal intersection over
// union of the given and the gold [start, end]: the length of what they share over the length that
// they cover together. Source: the grounding reward of ARC-Hunyuan-Video (arXiv:2507.20939).
//
// A time is a number of seconds or H:MM:SS or MM:SS, with a fraction or not; times have no sign, so
// that 27-34 is two of them. The answer is the last two times of the region. Fewer than two, or an
// end that is not behind its start: 0. The gold column holds exactly two times in order, as a list
// or in a text; anything else is failed.
#pragma once

#include "rewards/terms/term.h"

namespace limbic::rewards {

struct TiouConfig {
  std::string column;
  std::vector<std::string> region;
};
void describe(Fields& f, TiouConfig& c);
std::unique_ptr<Term> make_term(const TiouConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
