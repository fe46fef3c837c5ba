// Reads a whole data set and reports instead of stopping: every kind of bad row with its place,
// counts, lengths, labels. Knows no tokenizer; token lengths are the caller's to add.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset_config.h"
#include "data/label_counts.h"

namespace limbic::data {

inline constexpr std::size_t kMaxReportedProblems = 20;
inline constexpr std::size_t kMaxLabelBytes = 40;      // a longer string is text, not a label
inline constexpr std::size_t kMaxDistinctLabels = 50;  // a column with more is no label column

struct LengthStats {
  std::int64_t min = 0;
  std::int64_t max = 0;
  double mean = 0.0;
  std::int64_t p50 = 0;  // nearest rank: the smallest value that so many percent do not exceed
  std::int64_t p90 = 0;
  std::int64_t p99 = 0;
};

// All zero for no lengths.
LengthStats length_stats(std::vector<std::int64_t> lengths);

struct DataReport {
  std::string name;
  std::int64_t rows = 0;              // lines that are not empty
  std::int64_t filtered = 0;          // of them left out by the filter
  std::int64_t bad_rows = 0;          // of them unusable (a file that breaks off counts as one)
  std::int64_t duplicates = 0;        // usable rows whose conversation stood in an earlier one
  std::vector<std::string> problems;  // the first kMaxReportedProblems, `FILE:LINE: ...`
  LengthStats turns;                  // messages of a row
  LengthStats characters;             // code points of all contents of a row
  // Columns whose values are short strings (see the limits above), in order of appearance.
  std::vector<std::pair<std::string, LabelCounts>> labels;

  bool ok() const { return bad_rows == 0 && problems.empty(); }
};

// with_response as in build_messages. `sample` plays no part: every row is read. A file that is
// missing or damaged is a problem of the report, too. Throws ConfigError on a config that
// `describe` refuses.
DataReport check_dataset(const std::string& name, const DatasetConfig& config, bool with_response);

}  // namespace limbic::data
