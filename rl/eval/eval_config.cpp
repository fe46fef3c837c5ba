#include "rl/eval/eval_config.h"

#include <fmt/format.h>

#include "rl/eval/report.h"
#include "trainer/base/yaml_config.h"

namespace limbic::eval {

void describe(Fields& f, EvalConfig& c) {
  f.field("data", c.data, "labelled dataset, or a list of them");
  f.field("label", c.label, "column with the right answer; not read when `metrics` is mme alone");
  f.field("metrics", c.metrics,
          fmt::format("what the table holds: {}", fmt::join(metric_names(), ", ")));
  f.field("max_completion_length", c.max_completion_length, "longest answer in tokens",
          Bounds::at_least(1));
  describe(f, c.sampling);
  f.field("choices", c.choices,
          "answers to choose from: the one with the highest log-probability is taken instead of "
          "generating");
  f.field("region", c.region, "tag (or two markers) that the answer stands in; empty = all of it");
  f.field("aliases", c.aliases, "other words for a label: a file, `ekman`, or {label: [words]}");
  f.field("normalize", c.normalize, "lower, strip_punctuation: before answers are compared");
  f.field("per_device_eval_batch_size", c.per_device_eval_batch_size,
          "sequences that a rank decodes at the same time", Bounds::at_least(1));
  if (!f.reading()) return;
  for (const std::string& name : c.metrics) {
    if (is_metric(name)) continue;
    const std::string near = nearest_name(name, metric_names());
    f.fail("metrics",
           fmt::format("got '{}', want one of {}{}", name, fmt::join(metric_names(), ", "),
                       near.empty() ? "" : "; did you mean " + near + "?"));
  }
  for (const std::string& rule : c.normalize) {
    if (rule != "lower" && rule != "strip_punctuation") {
      f.fail("normalize", fmt::format("got '{}', want lower or strip_punctuation", rule));
    }
  }
  if (c.region.size() > 2) f.fail("region", "got more than two markers, want a tag or two markers");
}

}  // namespace limbic::eval
