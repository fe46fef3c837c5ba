// What an evaluation found: the figures of the metrics that were asked for, and how they are
// written. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rl/eval/classification.h"
#include "rl/eval/preference_bias.h"
#include "trainer/base/fields.h"

namespace limbic::eval {

// Names that `metrics` may hold.
const std::vector<std::string>& metric_names();
bool is_metric(const std::string& name);
// False when all metrics read the answer alone, so that rows need no label.
bool need_labels(const std::vector<std::string>& metrics);

struct Figure {
  std::string name;
  std::optional<double> value;  // empty: not defined on these answers
  bool share = true;            // of 1, shown in percent
};

struct Report {
  std::int64_t rows = 0;
  std::vector<Figure> figures;
  std::optional<Classification> labels;       // when a metric needs labels
  std::optional<PreferenceBias> preferences;  // esc_bias, when defined
  bool confusion = false;                     // the matrix is shown
};

// `labels` as in classify; not read when no metric needs them. Requires: at least one answer.
Report report_of(const std::vector<Answer>& answers, const std::vector<std::string>& labels,
                 const std::vector<std::string>& metrics);

// {"rows", figures ..., "invalid", "labels", "per_label", "confusion"}; null what is not defined.
Json to_json(const Report& report);
// The table for people, fixed width.
std::string to_text(const Report& report);
// {"eval_NAME": figure ..., "eval_rows"} for metrics.jsonl.
Json to_metrics(const Report& report);

}  // namespace limbic::eval
