// A leaf of the reward graph: gives one result per completion. A term is described by a config
// struct with `describe(Fields&, ...)` and made from it by `make_term(config, setup)`; the table of
// all of them is term_options.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rewards/score.h"

namespace limbic::rewards {

// What one term says about one completion, before weight and clamp.
struct Result {
  Status status = Status::kNotApplicable;
  double value = 0.0;  // only when scored
  std::string detail;
  bool missing = false;             // not applicable because the row lacks the column
  std::vector<Component> inside{};  // of a term that is a graph of its own

  static Result scored(double value, std::string detail = "") {
    return {Status::kScored, value, std::move(detail)};
  }
  static Result not_applicable(std::string detail) {
    return {Status::kNotApplicable, 0.0, std::move(detail)};
  }
  static Result failed(std::string detail) { return {Status::kFailed, 0.0, std::move(detail)}; }
  static Result without_column(const std::string& column);
};

// One call of a term: `batch` never is empty. `verdicts` are the results of the term named by
// `depends_on`, in the order of the batch; empty when it names none.
struct TermCall {
  std::vector<const Completion*> batch;
  std::vector<Result> verdicts;
  std::int64_t policy_step = 0;
};

class Term {
 public:
  virtual ~Term() = default;

  // One result per completion, in order. Pure: the same call gives the same results; may be called
  // from several threads at once.
  virtual std::vector<Result> score(const TermCall& call) const = 0;

  // Columns of the row that it reads.
  virtual std::vector<std::string> columns() const { return {}; }
  // Name of the term whose results it wants to see, or empty.
  virtual std::string depends_on() const { return {}; }
  // Tables it read from files, as text, so that the hash of the graph covers them.
  virtual std::string tables() const { return {}; }
  // See Scorer::connect.
  virtual void connect() const {}
};

// A term that looks at one completion at a time.
class RowTerm : public Term {
 public:
  // A DataError of `score_row` (a pattern gave up) becomes a failed result.
  std::vector<Result> score(const TermCall& call) const final;

 protected:
  virtual Result score_row(const Completion& row) const = 0;
};

// column -> text of a label as it stands in the rows -> number of rows
using LabelCounts = std::map<std::string, std::map<std::string, std::int64_t>>;

class Judges;  // rewards/judge/judges.h

// What a graph may know about the run it serves.
struct GraphContext {
  LabelCounts label_counts;          // of the training data, for `class_weights: inverse_frequency`
  std::uint64_t seed = 0;            // of the waits between retries, and of what judges are asked
  std::shared_ptr<Judges> judges{};  // endpoints and rubrics that terms may name
};

struct TermSetup {
  const GraphContext& context;
  std::string where;  // place for messages, "rewards.graph.NAME"
};

// The text of a column; null when the row has no such column or its value is null.
const std::string* column_of(const Completion& row, const std::string& column);
// A column that holds a JSON list gives its elements, any other text itself.
std::vector<std::string> list_of(const std::string& column_text);

}  // namespace limbic::rewards
