// The edit distance between ordered labelled trees: the cheapest way from one to the other by
// relabelling, inserting and deleting single nodes. The children of a deleted node move up into its
// place. Source: K. Zhang, D. Shasha, "Simple fast algorithms for the editing distance between
// trees and related problems", SIAM J. Comput. 18 (1989).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::rewards {

inline constexpr std::size_t kMaxTreeNodes = 256;  // the distance takes up to nodes^4 steps
inline constexpr std::size_t kMaxTreeDepth = 64;   // objects and lists inside each other

// Nodes in post-order: children in front of their parent, the root last.
struct Tree {
  std::vector<std::string> labels;    // [nodes]
  std::vector<std::size_t> leftmost;  // [nodes] the leftmost leaf below each node (a leaf: itself)

  std::size_t size() const { return labels.size(); }
};

// From JSON text: an object has one child per key, labelled with it; a list the children of its
// items; any other value is a leaf, null nothing. All hang from a root without label. Labels are
// normalised as texts of the term `label` are by default. Throws DataError `got ..., want ...`: no
// JSON, more than kMaxTreeNodes nodes, nested in more than kMaxTreeDepth levels.
Tree read_tree(std::string_view json);

struct EditCosts {
  double relabel = 1.0;
  double insert = 1.0;
  double remove = 1.0;
};
// `relabel`, `insert`, `delete`
void describe(Fields& f, EditCosts& c);

// Requires: at least one node in each, costs of 0 or more.
double tree_distance(const Tree& from, const Tree& to, const EditCosts& costs);

}  // namespace limbic::rewards
