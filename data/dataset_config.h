// One entry of the `datasets:` section: where rows come from, which are used, how they become
// messages.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/row.h"
#include "trainer/base/fields.h"

namespace limbic::data {

struct DatasetConfig {
  // Relative to the current folder.
  std::vector<std::string> path = {};
  // Our name, the file's name.
  std::vector<std::pair<std::string, std::string>> columns = {};
  // Template of the user message; empty: from the row's own columns.
  std::string prompt = {};
  // System message; empty: none.
  std::string system = {};
  // Template of the assistant message; empty: from the row's own columns.
  std::string response = {};
  std::int64_t repeat = 1;
  // all | first:N | random:N | random:N%
  std::string sample = "all";
  // null | {column, in: [...]} | {column, not_in: [...]} | a list of them
  Json filter = nullptr;
};

// While reading, every rule is checked: templates, sample, filter.
void describe(Fields& f, DatasetConfig& config);

struct Sample {
  enum class Kind { kAll, kFirst, kRandom, kRandomPercent };
  Kind kind = Kind::kAll;
  std::int64_t rows = 0;  // of kFirst and kRandom
  double percent = 0.0;   // of kRandomPercent, above 0 and at most 100
};

// Throws ConfigError `got ..., want ...`.
Sample parse_sample(const std::string& text);

// Keeps the rows that pass every condition. Values are compared as JSON: "1" and 1 differ.
class RowFilter {
 public:
  // Throws ConfigError `got ..., want ...` when it is not of the form above.
  explicit RowFilter(const Json& filter);
  bool keeps_all() const { return conditions_.empty(); }
  // Throws DataError when the row lacks a column of the filter (null is a value like others).
  bool keeps(const Row& row) const;

 private:
  struct Condition {
    std::string column;
    std::vector<Json> values;
    bool wanted = true;
  };
  std::vector<Condition> conditions_;
};

// The row with our names for the columns of the file. What is not listed keeps its name; a column
// of the file that has one of our names without being listed itself is hidden.
Json rename_columns(Json value, const DatasetConfig& config);

}  // namespace limbic::data
