#include "rewards/tree_distance.h"

#include <fmt/format.h>

#include <algorithm>

#include "rewards/text.h"
#include "trainer/base/error.h"

namespace limbic::rewards {
namespace {

using Table = std::vector<std::vector<double>>;

class TreeReader {
 public:
  Tree read(const Json& value) {
    node("", value, 0);
    return std::move(tree_);
  }

 private:
  void node(std::string_view label, const Json& below, std::size_t depth) {
    const std::size_t first = tree_.size();
    children(below, depth + 1);
    if (tree_.size() == kMaxTreeNodes) {
      throw DataError(fmt::format("got a tree of more than {} nodes, want fewer", kMaxTreeNodes));
    }
    tree_.labels.push_back(normalize(label, {}));
    tree_.leftmost.push_back(first);
  }

  void children(const Json& value, std::size_t depth) {
    if (value.is_structured() && depth > kMaxTreeDepth) {
      throw DataError(
          fmt::format("got JSON nested in more than {} levels, want fewer", kMaxTreeDepth));
    }
    if (value.is_object()) {
      for (const auto& [label, below] : value.items()) node(label, below, depth);
    } else if (value.is_array()) {
      for (const Json& item : value) children(item, depth + 1);
    } else if (!value.is_null()) {
      node(value.is_string() ? value.get<std::string>() : value.dump(), Json(), depth);
    }
  }

  Tree tree_;
};

// Nodes whose subtrees are compared by themselves: of all nodes with one leftmost leaf the last.
std::vector<std::size_t> key_roots(const Tree& tree) {
  std::vector<std::size_t> roots;
  std::vector<bool> seen(tree.size(), false);
  for (std::size_t i = tree.size(); i-- > 0;) {
    if (seen[tree.leftmost[i]]) continue;
    seen[tree.leftmost[i]] = true;
    roots.push_back(i);
  }
  std::reverse(roots.begin(), roots.end());
  return roots;
}

class Distance {
 public:
  Distance(const Tree& from, const Tree& to, const EditCosts& costs)
      : from_(from),
        to_(to),
        costs_(costs),
        trees_(from.size(), std::vector<double>(to.size(), 0.0)),
        forests_(from.size() + 1, std::vector<double>(to.size() + 1, 0.0)) {}

  double compute() {
    const std::vector<std::size_t> roots = key_roots(to_);
    for (const std::size_t i : key_roots(from_)) {
      for (const std::size_t j : roots) subtrees(i, j);
    }
    return trees_.back().back();
  }

 private:
  // Fills trees_ for the nodes on the leftmost paths below i and j. forests_[x][y] is the distance
  // between the first x nodes of the subtree of i and the first y of that of j.
  void subtrees(std::size_t i, std::size_t j) {
    const std::size_t first = from_.leftmost[i];
    const std::size_t second = to_.leftmost[j];
    for (std::size_t x = 1; x <= i - first + 1; ++x) {
      forests_[x][0] = forests_[x - 1][0] + costs_.remove;
    }
    for (std::size_t y = 1; y <= j - second + 1; ++y) {
      forests_[0][y] = forests_[0][y - 1] + costs_.insert;
    }
    for (std::size_t x = 1; x <= i - first + 1; ++x) {
      for (std::size_t y = 1; y <= j - second + 1; ++y) {
        const std::size_t a = first + x - 1;
        const std::size_t b = second + y - 1;
        const std::size_t left = from_.leftmost[a] - first;  // nodes in front of the subtree of a
        const std::size_t right = to_.leftmost[b] - second;
        const bool whole = left == 0 && right == 0;
        const double kept = whole ? forests_[x - 1][y - 1] + relabelled(a, b)
                                  : forests_[left][right] + trees_[a][b];
        forests_[x][y] = std::min(
            {forests_[x - 1][y] + costs_.remove, forests_[x][y - 1] + costs_.insert, kept});
        if (whole) trees_[a][b] = forests_[x][y];
      }
    }
  }

  double relabelled(std::size_t a, std::size_t b) const {
    return from_.labels[a] == to_.labels[b] ? 0.0 : costs_.relabel;
  }

  const Tree& from_;
  const Tree& to_;
  const EditCosts& costs_;
  Table trees_;    // [from, to] between whole subtrees
  Table forests_;  // [1 + from, 1 + to]
};

}  // namespace

Tree read_tree(std::string_view json) {
  const Json value = Json::parse(json, nullptr, false);
  if (value.is_discarded()) {
    throw DataError(fmt::format("got '{}', want a tree in JSON", shortened(json)));
  }
  return TreeReader().read(value);
}

void describe(Fields& f, EditCosts& c) {
  f.field("relabel", c.relabel, "of a node with another label", Bounds::at_least(0.0));
  f.field("insert", c.insert, "of a node that only the completion has", Bounds::at_least(0.0));
  f.field("delete", c.remove, "of a node that the completion lacks", Bounds::at_least(0.0));
}

double tree_distance(const Tree& from, const Tree& to, const EditCosts& costs) {
  check(from.size() > 0 && to.size() > 0, "trees with a root");
  return Distance(from, to, costs).compute();
}

}  // namespace limbic::rewards
