#include "rl/eval/preference_bias.h"

#include <cmath>
#include <cstddef>

#include "trainer/base/error.h"

namespace limbic::eval {
namespace {

constexpr int kSweeps = 20;

using Counts = std::vector<std::vector<double>>;
using Values = std::vector<double>;

// A label with confusions; false stays at 1.
std::vector<bool> confused_labels(const Counts& given) {
  std::vector<bool> confused(given.size(), false);
  for (std::size_t i = 0; i < given.size(); ++i) {
    check(given[i].size() == given.size(), "counts of every pair of labels");
    for (std::size_t j = 0; j < given.size(); ++j) {
      if (i != j && given[i][j] + given[j][i] > 0.0) confused[i] = true;
    }
  }
  return confused;
}

double updated(const Counts& given, const Values& p, std::size_t i) {
  double won = 0.0;
  double lost = 0.0;
  for (std::size_t j = 0; j < p.size(); ++j) {
    if (i == j || given[i][j] + given[j][i] == 0.0) continue;
    won += given[i][j] * p[j] / (p[i] + p[j]);
    lost += given[j][i] / (p[i] + p[j]);
  }
  return won / lost;
}

void divide_by_geometric_mean(Values& p, const std::vector<bool>& confused) {
  double logarithms = 0.0;
  double positive = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (!confused[i] || p[i] <= 0.0) continue;
    logarithms += std::log(p[i]);
    positive += 1.0;
  }
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (confused[i]) p[i] /= std::exp(logarithms / positive);
  }
}

void scale_to_mean_one(Values& p, const std::vector<bool>& confused) {
  double sum = 0.0;
  double count = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (!confused[i]) continue;
    sum += p[i];
    count += 1.0;
  }
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (confused[i]) p[i] *= count / sum;
  }
}

// Around 1, the mean.
double deviation(const Values& p) {
  double squares = 0.0;
  for (const double each : p) squares += (each - 1.0) * (each - 1.0);
  return std::sqrt(squares / static_cast<double>(p.size()));
}

}  // namespace

std::optional<PreferenceBias> preference_bias(const Counts& given) {
  check(!given.empty(), "labels to prefer");
  const std::vector<bool> confused = confused_labels(given);
  Values p(given.size(), 1.0);
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (!confused[i]) continue;
      p[i] = updated(given, p, i);
      if (!std::isfinite(p[i])) return std::nullopt;
    }
    divide_by_geometric_mean(p, confused);
  }
  scale_to_mean_one(p, confused);
  return PreferenceBias{p, deviation(p)};
}

}  // namespace limbic::eval
