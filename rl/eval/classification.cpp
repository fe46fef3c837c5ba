#include "rl/eval/classification.h"

#include <algorithm>

#include "trainer/base/error.h"

namespace limbic::eval {
namespace {

double ratio(double part, double whole) { return whole > 0.0 ? part / whole : 0.0; }

double harmonic(double a, double b) { return a + b > 0.0 ? 2.0 * a * b / (a + b) : 0.0; }

}  // namespace

std::int64_t Classification::count(const std::string& gold, const std::string& predicted) const {
  const auto row = confusion.find(gold);
  if (row == confusion.end()) return 0;
  const auto cell = row->second.find(predicted);
  return cell == row->second.end() ? 0 : cell->second;
}

Classification classify(const std::vector<Answer>& answers,
                        const std::vector<std::string>& labels) {
  check(!answers.empty(), "answers to classify");
  Classification out;
  out.rows = static_cast<std::int64_t>(answers.size());
  out.labels = labels;
  std::sort(out.labels.begin(), out.labels.end());
  out.labels.erase(std::unique(out.labels.begin(), out.labels.end()), out.labels.end());
  std::map<std::string, std::int64_t> predicted, right;
  double hits = 0.0;
  double inside = 0.0;
  for (const Answer& answer : answers) {
    ++out.confusion[answer.gold][answer.predicted];
    ++out.by_label[answer.gold].support;
    ++predicted[answer.predicted];
    if (std::binary_search(out.labels.begin(), out.labels.end(), answer.predicted)) inside += 1.0;
    if (answer.gold != answer.predicted) continue;
    ++right[answer.gold];
    hits += 1.0;
  }
  const auto rows = static_cast<double>(out.rows);
  double f1_sum = 0.0, recall_sum = 0.0, weighted = 0.0, present = 0.0;
  for (const std::string& label : out.labels) {
    LabelFigures& figures = out.by_label[label];
    const auto good = static_cast<double>(right[label]);
    figures.precision = ratio(good, static_cast<double>(predicted[label]));
    figures.recall = ratio(good, static_cast<double>(figures.support));
    figures.f1 = harmonic(figures.precision, figures.recall);
    if (figures.support == 0) continue;
    present += 1.0;
    f1_sum += figures.f1;
    recall_sum += figures.recall;
    weighted += figures.f1 * static_cast<double>(figures.support) / rows;
  }
  out.figures["accuracy"] = hits / rows;
  out.figures["macro_f1"] = ratio(f1_sum, present);
  out.figures["micro_f1"] = harmonic(ratio(hits, inside), hits / rows);
  out.figures["weighted_f1"] = weighted;
  out.figures["uar"] = ratio(recall_sum, present);
  out.figures["war"] = hits / rows;
  out.figures["invalid"] = 1.0 - inside / rows;
  return out;
}

}  // namespace limbic::eval
