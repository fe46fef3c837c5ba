// `type: tree`: how near is the tree that the completion gives to the row's? exp(-lambda x d) with
// the edit distance d of tree_distance.h, so 1 for equal trees. Source: the affective-tree reward
// of VidEmo (arXiv:2511.02712), which leaves lambda and the costs open.
//
// Trees are JSON: {"smile": {"mouth": ["AU12"]}}. The region must hold nothing else: no JSON, or a
// tree above the limits of tree_distance.h, gives 0. The order of siblings counts. A gold tree that
// cannot be read is failed.
#pragma once

#include "rewards/terms/term.h"
#include "rewards/tree_distance.h"

namespace limbic::rewards {

struct TreeConfig {
  std::string column;
  std::vector<std::string> region;
  double lambda = 1.0;
  EditCosts costs;
};
void describe(Fields& f, TreeConfig& c);
std::unique_ptr<Term> make_term(const TreeConfig& config, const TermSetup& setup);

}  // namespace limbic::rewards
