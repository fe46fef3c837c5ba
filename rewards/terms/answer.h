// Terms with one right answer; value 1 or 0.
//
// `choice`  A key such as B, (b), "B. sad" or a line "Answer: B" (the last such line counts),
// compared
//           without case; an answer without a key is compared as normalised text. A gold list is
//           right with any of its items.
// `number`  The last number of the region is within `tolerance` of the gold number.
// `regex`   The region contains (`full`: is) a match of `pattern`, or of the pattern that the row
//           holds in `column`.
// No region in the completion: 0. No gold in the row: not applicable. A gold value that cannot be
// read: failed.
#pragma once

#include "rewards/terms/term.h"

namespace limbic::rewards {

struct ChoiceConfig {
  std::string column;
  std::vector<std::string> region;
};
void describe(Fields& f, ChoiceConfig& c);
std::unique_ptr<Term> make_term(const ChoiceConfig& config, const TermSetup& setup);

struct NumberConfig {
  std::string column;
  std::vector<std::string> region;
  double tolerance = 0.0;  // absolute
};
void describe(Fields& f, NumberConfig& c);
std::unique_ptr<Term> make_term(const NumberConfig& config, const TermSetup& setup);

struct RegexConfig {
  std::string pattern;
  std::string column;
  std::vector<std::string> region;
  bool full = false;
};
void describe(Fields& f, RegexConfig& c);
std::unique_ptr<Term> make_term(const RegexConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
