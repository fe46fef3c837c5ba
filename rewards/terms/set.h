// `type: set`: how well does the set of things a completion names fit the gold set? Action units,
// strategies of a counsellor, emotions of a multi-label row.
//
// Things are found in the region by `pattern` (its first group when it has one) or by `vocabulary`
// (whole words, any case, longest first). Gold is a list, or a text that is searched in the same
// way and else split at commas. AU1, AU01 and au1 are one thing, and so are all words that
// `aliases` have for a label; the words of the aliases are the vocabulary unless a pattern or a
// vocabulary is given. With weights w (`element_weights`, default 1), sets P (named) and G (gold):
//   precision w(P and G) / w(P)      recall w(P and G) / w(G)      jaccard w(P and G) / w(P or G)
//   f1 and fbeta: (1 + b^2) p r / (b^2 p + r), 0 when p and r are 0
// An empty G gives `empty_gold`, then an empty P `empty_prediction`; then `affine: [a, b]` maps the
// measure m (these two included) to a m + b.
#pragma once

#include "rewards/terms/term.h"

namespace limbic::rewards {

enum class SetMeasure { kF1, kFbeta, kJaccard, kPrecision, kRecall };

struct SetConfig {
  std::string column;
  std::vector<std::string> region;
  std::string pattern = "AU\\d+";
  std::vector<std::string> vocabulary;  // instead of the pattern
  Json aliases;                         // as in `label`
  SetMeasure measure = SetMeasure::kF1;
  double beta = 1.0;
  Json affine = Json::array({1, 0});
  double empty_prediction = 0.0;
  Json empty_gold = "not_applicable";
  Json element_weights;  // {element: weight}
};
void describe(Fields& f, SetConfig& c);
std::unique_ptr<Term> make_term(const SetConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
