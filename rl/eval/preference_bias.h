// Which answers a model prefers whatever the right one is: Bradley-Terry preferences from its wrong
// answers. Source: "Can large language models be good emotional supporter?" (ACL 2024), with the
// iteration of its published code. With W_ij rows where i was given and j is right, from p = 1 on:
//
//   p_i <- [sum over j of W_ij p_j / (p_i + p_j)] / [sum over j of W_ji / (p_i + p_j)]
//
// 20 times, one i behind the other in place; after each sweep p is divided by the geometric mean of
// those above 0, in the end scaled to a mean of 1. B is the standard deviation of p over the
// labels: 0 for a model without preference.
#pragma once

#include <optional>
#include <vector>

namespace limbic::eval {

struct PreferenceBias {
  std::vector<double> preferences;  // [labels]
  double bias = 0.0;                // B
};

// given  [labels, labels]  rows where the first label was given and the second is right; the
//        diagonal plays no part
// A label that takes part in no confusion has preference 1 and stays out of the scaling. Empty when
// a preference has no finite value: a label that is given where it is wrong is never missed where
// it is right, or two labels of preference 0 are confused. Requires: a square, at least one label.
std::optional<PreferenceBias> preference_bias(const std::vector<std::vector<double>>& given);

}  // namespace limbic::eval
