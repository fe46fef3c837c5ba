#include "data/label_counts.h"

#include <fmt/format.h>

#include "trainer/base/error.h"

namespace limbic::data {

void add_label(const Row& row, const std::string& column, LabelCounts& counts) {
  const Json* found = find_column(row, column);
  if (!found) return;
  const Json items = found->is_array() ? *found : Json::array({*found});
  for (const Json& item : items) {
    if (!item.is_primitive()) {
      fail_row(row, fmt::format("got {} in column '{}', want a label or a list of labels",
                                in_words(item), column));
    }
    if (!item.is_null()) ++counts[as_text(item)];
  }
}

LabelCounts count_labels(const Mixture& rows, const std::string& column) {
  LabelCounts counts;
  for (std::int64_t i = 0; i < rows.size(); ++i) add_label(rows.row(i), column, counts);
  return counts;
}

std::map<std::string, double> inverse_frequency_weights(const LabelCounts& counts) {
  double total = 0.0;
  for (const auto& [label, count] : counts) {
    check(count > 0, "a label that is counted is there");
    total += static_cast<double>(count);
  }
  std::map<std::string, double> weights;
  for (const auto& [label, count] : counts) {
    weights[label] = total / (static_cast<double>(counts.size()) * static_cast<double>(count));
  }
  return weights;
}

}  // namespace limbic::data
