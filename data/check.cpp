#include "data/check.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <unordered_set>

#include "data/json_lines.h"
#include "data/messages.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

std::int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// Code points of the contents, whether strings or lists of parts with a text.
std::int64_t characters_of(const Json& messages) {
  if (messages.is_string()) return code_points(messages.get_ref<const std::string&>());
  std::int64_t total = 0;
  for (const Json& message : messages) {
    const Json content = message.value("content", Json());
    if (content.is_string()) total += code_points(content.get_ref<const std::string&>());
    if (!content.is_array()) continue;
    for (const Json& part : content) {
      if (part.is_object() && part.contains("text") && part["text"].is_string()) {
        total += code_points(part["text"].get_ref<const std::string&>());
      }
    }
  }
  return total;
}

// Follows which columns hold short strings only.
class LabelColumns {
 public:
  void add(const Row& row) {
    for (const auto& [name, value] : row.value.items()) {
      if (value.is_null()) continue;
      const auto same_name = [&, &key = name](const Column& column) { return column.name == key; };
      auto column = std::find_if(columns_.begin(), columns_.end(), same_name);
      if (column == columns_.end()) {
        columns_.push_back({name, LabelCounts{}});
        column = columns_.end() - 1;
      }
      if (!column->counts) continue;
      const bool label =
          value.is_string() && value.get_ref<const std::string&>().size() <= kMaxLabelBytes;
      if (label) ++(*column->counts)[value.get<std::string>()];
      if (!label || column->counts->size() > kMaxDistinctLabels) column->counts.reset();
    }
  }
  std::vector<std::pair<std::string, LabelCounts>> take() {
    std::vector<std::pair<std::string, LabelCounts>> labels;
    for (Column& column : columns_) {
      if (column.counts) labels.emplace_back(column.name, std::move(*column.counts));
    }
    return labels;
  }

 private:
  struct Column {
    std::string name;
    std::optional<LabelCounts> counts;  // empty: not a label column
  };
  std::vector<Column> columns_;
};

class Checker {
 public:
  Checker(const std::string& name, const DatasetConfig& config, bool with_response)
      : config_(config), filter_(config.filter), with_response_(with_response) {
    report_.name = name;
  }

  void read(const std::string& path) {
    std::optional<JsonLines> lines;
    try {
      lines.emplace(path);
    } catch (const DataError& error) {
      note(error);
      return;
    }
    while (read_row(*lines)) {
    }
  }

  DataReport finish() {
    report_.turns = length_stats(std::move(turns_));
    report_.characters = length_stats(std::move(characters_));
    report_.labels = columns_.take();
    return std::move(report_);
  }

 private:
  // False at the end of the file.
  bool read_row(JsonLines& lines) {
    try {
      const auto line = lines.next();
      if (!line) return false;
      use({rename_columns(Json::parse(line->text), config_), lines.path(), line->number});
    } catch (const DataError& error) {
      ++report_.bad_rows;
      note(error);
    }
    ++report_.rows;
    return true;
  }
  void use(const Row& row) {
    if (!filter_.keeps(row)) {
      ++report_.filtered;
      return;
    }
    const Json messages = build_messages(row, config_, with_response_);
    turns_.push_back(messages.is_string() ? 1 : static_cast<std::int64_t>(messages.size()));
    characters_.push_back(characters_of(messages));
    columns_.add(row);
    const std::size_t print = std::hash<std::string>{}(messages.dump());
    if (!seen_.insert(print).second) ++report_.duplicates;
  }
  void note(const DataError& error) {
    if (report_.problems.size() < kMaxReportedProblems) report_.problems.push_back(error.what());
  }

  DatasetConfig config_;
  RowFilter filter_;
  bool with_response_;
  DataReport report_;
  std::vector<std::int64_t> turns_;
  std::vector<std::int64_t> characters_;
  LabelColumns columns_;
  std::unordered_set<std::size_t> seen_;  // 64 bits: no chance twin in any data that fits
};

}  // namespace

LengthStats length_stats(std::vector<std::int64_t> lengths) {
  if (lengths.empty()) return {};
  std::sort(lengths.begin(), lengths.end());
  const auto count = static_cast<double>(lengths.size());
  const auto percentile = [&](double percent) {
    return lengths[static_cast<std::size_t>(std::ceil(percent / 100.0 * count)) - 1];
  };
  const auto sum = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  return {.min = lengths.front(),
          .max = lengths.back(),
          .mean = static_cast<double>(sum) / count,
          .p50 = percentile(50.0),
          .p90 = percentile(90.0),
          .p99 = percentile(99.0)};
}

DataReport check_dataset(const std::string& name, const DatasetConfig& config, bool with_response) {
  Checker checker(name, config, with_response);
  for (const std::string& path : config.path) checker.read(path);
  return checker.finish();
}

}  // namespace limbic::data
