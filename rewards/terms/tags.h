// `type: tags`: is the completion built from the wanted pairs of markers?
//
// A pair is right when it is complete and (non_empty) holds more than white space, and
//   present  stands anywhere;
//   ordered  begins behind the end of the previous right pair;
//   strict   as ordered, its markers occur exactly once, and the completion is nothing but the
//   pairs
//            and white space.
// A nested pair is looked for inside the first complete pair of its parent; its order among its
// siblings and text around it matter in `strict` only.
// Value: 1 when everything is right, else 0. graded: the share of pairs, nested ones included, that
// are right; in `strict` text outside the pairs still gives 0.
#pragma once

#include "rewards/terms/term.h"

namespace limbic::rewards {

enum class TagMode { kPresent, kOrdered, kStrict };

struct TagsConfig {
  std::vector<std::string> tags;
  Json pairs;   // [[opening, closing], ...]
  Json nested;  // tag -> list of tags
  TagMode mode = TagMode::kOrdered;
  bool non_empty = true;
  bool graded = false;
};
void describe(Fields& f, TagsConfig& c);
std::unique_ptr<Term> make_term(const TagsConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
