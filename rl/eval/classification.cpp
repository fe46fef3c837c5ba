#include "rl/eval/classification.h"

#include <fmt/format.h>

#include <algorithm>

#include "trainer/base/error.h"

namespace limbic::eval {
namespace {

double ratio(double part, double whole) { return whole > 0.0 ? part / whole : 0.0; }

double harmonic(double a, double b) { return a + b > 0.0 ? 2.0 * a * b / (a + b) : 0.0; }

}  // namespace

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

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> names = {"accuracy", "macro_f1", "micro_f1", "weighted_f1",
                                                 "uar",      "war",      "confusion"};
  return names;
}

bool is_metric(const std::string& name) {
  return std::find(metric_names().begin(), metric_names().end(), name) != metric_names().end();
}

Json to_json(const Classification& c, const std::vector<std::string>& metrics) {
  Json out = {{"rows", c.rows}};
  for (const std::string& name : metrics) {
    if (name != "confusion") out[name] = c.figures.at(name);
  }
  out["invalid"] = c.figures.at("invalid");
  out["labels"] = c.labels;
  for (const auto& [label, figures] : c.by_label) {
    out["per_label"][label] = {{"precision", figures.precision},
                               {"recall", figures.recall},
                               {"f1", figures.f1},
                               {"support", figures.support}};
  }
  if (std::find(metrics.begin(), metrics.end(), "confusion") != metrics.end()) {
    for (const auto& [gold, row] : c.confusion) out["confusion"][gold] = row;
  }
  return out;
}

std::string to_text(const Classification& c, const std::vector<std::string>& metrics) {
  std::string text;
  for (const std::string& name : metrics) {
    if (name != "confusion")
      text += fmt::format("{:<12} {:>6.1f} %\n", name, 100.0 * c.figures.at(name));
  }
  if (c.figures.at("invalid") > 0.0) {
    text += fmt::format("{:<12} {:>6.1f} %\n", "no label", 100.0 * c.figures.at("invalid"));
  }
  std::size_t width = 5;
  for (const std::string& label : c.labels) width = std::max(width, label.size());
  text += fmt::format("\n{:<{}}  precision  recall     f1  rows\n", "label", width);
  for (const std::string& label : c.labels) {
    const LabelFigures& f = c.by_label.at(label);
    text += fmt::format("{:<{}}  {:>9.3f}  {:>6.3f}  {:>5.3f}  {:>4}\n", label, width, f.precision,
                        f.recall, f.f1, f.support);
  }
  if (std::find(metrics.begin(), metrics.end(), "confusion") == metrics.end()) return text;
  text += fmt::format("\n{:<{}}", "right\\given", std::max<std::size_t>(width, 11));
  for (const std::string& label : c.labels) text += fmt::format("  {:>{}}", label, width);
  text += fmt::format("  {:>5}\n", "other");
  for (const std::string& gold : c.labels) {
    const auto row = c.confusion.find(gold);
    if (row == c.confusion.end()) continue;
    std::int64_t others = c.by_label.at(gold).support;
    text += fmt::format("{:<{}}", gold, std::max<std::size_t>(width, 11));
    for (const std::string& label : c.labels) {
      const auto cell = row->second.find(label);
      const std::int64_t count = cell == row->second.end() ? 0 : cell->second;
      others -= count;
      text += fmt::format("  {:>{}}", count, width);
    }
    text += fmt::format("  {:>5}\n", others);
  }
  return text;
}

}  // namespace limbic::eval
