#include "rewards/terms/tree.h"

#include <fmt/format.h>

#include <cmath>

#include "rewards/terms/option.h"
#include "trainer/base/error.h"

namespace limbic::rewards {
namespace {

class TreeTerm final : public RowTerm {
 public:
  explicit TreeTerm(const TreeConfig& config) : config_(config), region_(config.region) {}

  std::vector<std::string> columns() const override { return {config_.column}; }

 protected:
  Result score_row(const Completion& row) const override {
    const std::string* column = column_of(row, config_.column);
    if (column == nullptr || strip(*column).empty()) return Result::without_column(config_.column);
    const Tree gold = gold_of(*column);
    const std::optional<std::string_view> text = region_.find(row.text);
    if (!text) return Result::scored(0.0, fmt::format("no {} in the completion", region_.name()));
    Tree given;
    try {
      given = read_tree(*text);
    } catch (const DataError& error) {
      return Result::scored(0.0, error.what());
    }
    const double distance = tree_distance(gold, given, config_.costs);
    return Result::scored(std::exp(-config_.lambda * distance),
                          fmt::format("distance {}", distance));
  }

 private:
  Tree gold_of(const std::string& column) const {
    try {
      return read_tree(column);
    } catch (const DataError& error) {
      throw DataError(fmt::format("column '{}': {}", config_.column, error.what()));
    }
  }

  TreeConfig config_;
  Region region_;
};

}  // namespace

void describe(Fields& f, TreeConfig& c) {
  f.field("column", c.column, "column of the row that holds the gold tree");
  region_field(f, c.region);
  f.field("lambda", c.lambda, "how fast the value falls with the distance", Bounds::positive());
  f.section("costs", c.costs, "costs of the edits from the gold tree to the completion's");
  require_text(f, "column", c.column, "the column of the gold tree");
}

std::unique_ptr<Term> make_term(const TreeConfig& config, const TermSetup&) {
  return std::make_unique<TreeTerm>(config);
}

}  // namespace limbic::rewards
