// Measuring a model on labelled data: it answers every row (by generating, or by choosing the
// likeliest of given choices), answers are normalised and compared as the reward term `label` does.
#pragma once

#include "rl/eval/eval_config.h"
#include "rl/eval/report.h"
#include "trainer/engine/stage.h"

namespace limbic::eval {

// Reads the labels and aliases before there is a model. Throws ConfigError, DataError (file and
// line).
void check_labels(const EvalConfig& config, const data::Mixture& rows);

// Every rank must call; rank 0 writes predictions.jsonl and table.json into `folder` (the rows with
// `prediction` and `predicted_label` added, in their order). Throws ConfigError, DataError (a row
// without label: file and line), Interrupted.
engine::StageResult run_eval(engine::RunContext& context, const EvalConfig& config,
                             const std::string& folder);

// Scores a JSON-lines file with the columns `prediction` and config.label (where a metric needs it)
// instead of a model, and writes table.json into `folder`. Throws DataError.
Report score_predictions(const std::string& file, const EvalConfig& config,
                         const std::string& folder);

}  // namespace limbic::eval
