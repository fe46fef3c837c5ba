#include "rewards/terms/term.h"

#include <fmt/format.h>

#include "trainer/base/error.h"

namespace limbic::rewards {

Result Result::without_column(const std::string& column) {
  Result result = not_applicable(fmt::format("the row has no '{}'", column));
  result.missing = true;
  return result;
}

std::vector<Result> RowTerm::score(const TermCall& call) const {
  std::vector<Result> results;
  results.reserve(call.batch.size());
  for (const Completion* row : call.batch) {
    try {
      results.push_back(score_row(*row));
    } catch (const DataError& error) {
      results.push_back(Result::failed(error.what()));
    }
  }
  return results;
}

const std::string* column_of(const Completion& row, const std::string& column) {
  const auto found = row.columns.find(column);
  return found == row.columns.end() || found->second == "null" ? nullptr : &found->second;
}

std::vector<std::string> list_of(const std::string& column_text) {
  if (!column_text.starts_with('[')) return {column_text};
  const Json parsed = Json::parse(column_text, nullptr, false);
  if (!parsed.is_array()) return {column_text};
  std::vector<std::string> items;
  for (const Json& item : parsed) {
    items.push_back(item.is_string() ? item.get<std::string>() : item.dump());
  }
  return items;
}

}  // namespace limbic::rewards
