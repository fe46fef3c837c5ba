#include "rl/eval/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "rl/eval/judged_steps.h"
#include "trainer/base/error.h"

namespace limbic::eval {
namespace {

constexpr std::size_t kFewestColumns = 5;

std::vector<std::vector<double>> counts_of(const Classification& c) {
  std::vector<std::vector<double>> given;
  for (const std::string& predicted : c.labels) {
    std::vector<double>& row = given.emplace_back();
    for (const std::string& gold : c.labels)
      row.push_back(static_cast<double>(c.count(gold, predicted)));
  }
  return given;
}

void add_bias(Report& report) {
  report.preferences = preference_bias(counts_of(*report.labels));
  Figure figure{.name = "esc_bias", .value = {}, .share = false};
  if (report.preferences) figure.value = report.preferences->bias;
  report.figures.push_back(figure);
}

void add_steps(Report& report, const std::vector<Answer>& answers) {
  std::vector<std::string> lines;
  for (const Answer& answer : answers) lines.push_back(answer.text);
  const JudgedSteps steps = judge_steps(lines);
  const auto add = [&](const char* name, double StepScores::*member) {
    Figure figure{.name = name, .value = {}};
    if (steps.mean) figure.value = (*steps.mean).*member;
    report.figures.push_back(figure);
  };
  add("mme_rec", &StepScores::recognition);
  add("mme_rea", &StepScores::reasoning);
  add("mme_cot", &StepScores::cot);
  report.figures.push_back(
      {"mme_skipped", static_cast<double>(steps.skipped) / static_cast<double>(answers.size())});
}

Json number_or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

std::string shown(const Figure& figure) {
  const std::string name = fmt::format("{:<12} ", figure.name);
  if (!figure.value) return name + "not defined\n";
  return name + (figure.share ? fmt::format("{:>6.1f} %\n", 100.0 * *figure.value)
                              : fmt::format("{:>8.4f}\n", *figure.value));
}

std::size_t width_of(const Classification& c) {
  std::size_t width = kFewestColumns;
  for (const std::string& label : c.labels) width = std::max(width, label.size());
  return width;
}

std::string label_table(const Report& report) {
  const Classification& c = *report.labels;
  const std::size_t width = width_of(c);
  std::string text = fmt::format("\n{:<{}}  precision  recall     f1  rows{}\n", "label", width,
                                 report.preferences ? "  preference" : "");
  for (std::size_t i = 0; i < c.labels.size(); ++i) {
    const LabelFigures& f = c.by_label.at(c.labels[i]);
    text += fmt::format("{:<{}}  {:>9.3f}  {:>6.3f}  {:>5.3f}  {:>4}", c.labels[i], width,
                        f.precision, f.recall, f.f1, f.support);
    if (report.preferences) text += fmt::format("  {:>10.3f}", report.preferences->preferences[i]);
    text += "\n";
  }
  return text;
}

std::string confusion_table(const Classification& c) {
  const std::size_t width = width_of(c);
  const std::size_t first = std::max<std::size_t>(width, 11);
  std::string text = fmt::format("\n{:<{}}", "right\\given", first);
  for (const std::string& label : c.labels) text += fmt::format("  {:>{}}", label, width);
  text += fmt::format("  {:>5}\n", "other");
  for (const std::string& gold : c.labels) {
    std::int64_t others = c.by_label.at(gold).support;
    if (others == 0) continue;
    text += fmt::format("{:<{}}", gold, first);
    for (const std::string& label : c.labels) {
      const std::int64_t count = c.count(gold, label);
      others -= count;
      text += fmt::format("  {:>{}}", count, width);
    }
    text += fmt::format("  {:>5}\n", others);
  }
  return text;
}

}  // namespace

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> names = {"accuracy",    "macro_f1", "micro_f1",
                                                 "weighted_f1", "uar",      "war",
                                                 "confusion",   "esc_bias", "mme"};
  return names;
}

bool is_metric(const std::string& name) {
  return std::find(metric_names().begin(), metric_names().end(), name) != metric_names().end();
}

bool need_labels(const std::vector<std::string>& metrics) {
  const auto reads_label = [](const std::string& name) { return name != "mme"; };
  return metrics.empty() || std::any_of(metrics.begin(), metrics.end(), reads_label);
}

Report report_of(const std::vector<Answer>& answers, const std::vector<std::string>& labels,
                 const std::vector<std::string>& metrics) {
  check(!answers.empty(), "answers to report on");
  Report report;
  report.rows = static_cast<std::int64_t>(answers.size());
  if (need_labels(metrics)) report.labels = classify(answers, labels);
  for (const std::string& name : metrics) {
    if (name == "confusion") {
      report.confusion = true;
    } else if (name == "esc_bias") {
      add_bias(report);
    } else if (name == "mme") {
      add_steps(report, answers);
    } else {
      report.figures.push_back({name, report.labels->figures.at(name)});
    }
  }
  return report;
}

Json to_json(const Report& report) {
  Json out = {{"rows", report.rows}};
  for (const Figure& figure : report.figures) out[figure.name] = number_or_null(figure.value);
  if (!report.labels) return out;
  const Classification& c = *report.labels;
  out["invalid"] = c.figures.at("invalid");
  out["labels"] = c.labels;
  for (std::size_t i = 0; i < c.labels.size(); ++i) {
    const LabelFigures& figures = c.by_label.at(c.labels[i]);
    Json& entry = out["per_label"][c.labels[i]];
    entry = {{"precision", figures.precision},
             {"recall", figures.recall},
             {"f1", figures.f1},
             {"support", figures.support}};
    if (report.preferences) entry["preference"] = report.preferences->preferences[i];
  }
  if (!report.confusion) return out;
  for (const auto& [gold, row] : c.confusion) out["confusion"][gold] = row;
  return out;
}

std::string to_text(const Report& report) {
  std::string text;
  for (const Figure& figure : report.figures) text += shown(figure);
  if (!report.labels) return text;
  const double invalid = report.labels->figures.at("invalid");
  if (invalid > 0.0) text += shown({"no label", invalid});
  text += label_table(report);
  if (report.confusion) text += confusion_table(*report.labels);
  return text;
}

Json to_metrics(const Report& report) {
  Json out = Json::object();
  for (const Figure& figure : report.figures) {
    out["eval_" + figure.name] = number_or_null(figure.value);
  }
  out["eval_rows"] = report.rows;
  if (report.labels) out["eval_invalid"] = report.labels->figures.at("invalid");
  return out;
}

}  // namespace limbic::eval
