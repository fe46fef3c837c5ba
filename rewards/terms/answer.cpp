#include "rewards/terms/answer.h"

#include <fmt/format.h>

#include <cmath>

#include "rewards/pattern.h"
#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

Result missing_region(const Region& region) {
  return Result::scored(0.0, fmt::format("no {} in the completion", region.name()));
}

class ChoiceTerm final : public RowTerm {
 public:
  ChoiceTerm(const ChoiceConfig& config, const std::string& where)
      : column_(config.column),
        region_(config.region),
        answer_line_("answer\\s*(?:is\\b\\s*:?|:)[\\s*]*([^\\n]+)", where, Letters::kAnyCase),
        key_("^[\\[(*]*([A-Za-z]|\\d{1,2})(?:[\\]).:,*]|$)", where) {}

  std::vector<std::string> columns() const override { return {column_}; }

 protected:
  Result score_row(const Completion& row) const override {
    const std::string* column = column_of(row, column_);
    if (column == nullptr || strip(*column).empty()) return Result::without_column(column_);
    const std::optional<std::string_view> text = region_.find(row.text);
    if (!text) return missing_region(region_);
    const std::vector<Pattern::Match> lines = answer_line_.find_all(*text);
    const std::string given = key_of(lines.empty() ? *text : std::string_view(lines.back().text));
    for (const std::string& gold : list_of(*column)) {
      if (given == key_of(gold)) return Result::scored(1.0, shortened(given));
    }
    return Result::scored(0.0, fmt::format("{} for {}", shortened(given), shortened(*column)));
  }

 private:
  std::string key_of(std::string_view text) const {
    const std::vector<Pattern::Match> keys = key_.find_all(strip(text));
    return normalize(keys.empty() ? text : std::string_view(keys.front().text), {});
  }

  std::string column_;
  Region region_;
  Pattern answer_line_;
  Pattern key_;
};

class NumberTerm final : public RowTerm {
 public:
  NumberTerm(const NumberConfig& config, const std::string& where)
      : column_(config.column),
        region_(config.region),
        tolerance_(config.tolerance),
        number_(
            "(?<![\\w.])[-+]?(?:\\d{1,3}(?:,\\d{3})+(?!\\d)(?:\\.\\d+)?|\\d+(?:\\.\\d+)?|\\.\\d+)"
            "(?:[eE][-+]?\\d+)?",
            where) {}

  std::vector<std::string> columns() const override { return {column_}; }

 protected:
  Result score_row(const Completion& row) const override {
    const std::string* column = column_of(row, column_);
    if (column == nullptr || strip(*column).empty()) return Result::without_column(column_);
    const std::optional<double> gold = parse_number(*column);
    if (!gold) {
      return Result::failed(
          fmt::format("column '{}': got '{}', want a number", column_, shortened(*column)));
    }
    const std::optional<std::string_view> text = region_.find(row.text);
    if (!text) return missing_region(region_);
    const std::optional<double> given = last_number(*text);
    if (!given) return Result::scored(0.0, "no number");
    const bool right = std::abs(*given - *gold) <= tolerance_;
    return Result::scored(right ? 1.0 : 0.0, fmt::format("{} for {}", *given, *gold));
  }

 private:
  std::optional<double> last_number(std::string_view text) const {
    const std::vector<Pattern::Match> found = number_.find_all(text);
    for (auto match = found.rbegin(); match != found.rend(); ++match) {
      std::string digits;
      for (const char c : match->text) {
        if (c != ',') digits += c;
      }
      if (const std::optional<double> value = parse_number(digits)) return value;
    }
    return std::nullopt;
  }

  std::string column_;
  Region region_;
  double tolerance_;
  Pattern number_;
};

class RegexTerm final : public RowTerm {
 public:
  RegexTerm(const RegexConfig& config, const std::string& where)
      : column_(config.column), region_(config.region), full_(config.full) {
    if (column_.empty()) pattern_.emplace(config.pattern, where + ".pattern");
  }

  std::vector<std::string> columns() const override {
    return column_.empty() ? std::vector<std::string>() : std::vector<std::string>{column_};
  }

 protected:
  Result score_row(const Completion& row) const override {
    const std::optional<std::string_view> text = region_.find(row.text);
    if (pattern_) return text ? verdict(*pattern_, *text) : missing_region(region_);
    const std::string* column = column_of(row, column_);
    if (column == nullptr || column->empty()) return Result::without_column(column_);
    if (!text) return missing_region(region_);
    try {
      return verdict(Pattern(*column, "column '" + column_ + "'"), *text);
    } catch (const ConfigError& error) {
      return Result::failed(error.what());
    }
  }

 private:
  Result verdict(const Pattern& pattern, std::string_view text) const {
    return Result::scored((full_ ? pattern.full(text) : pattern.search(text)) ? 1.0 : 0.0);
  }

  std::string column_;
  Region region_;
  bool full_;
  std::optional<Pattern> pattern_;
};

}  // namespace

void describe(Fields& f, ChoiceConfig& c) {
  f.field("column", c.column, "column of the row that holds the gold choice");
  region_field(f, c.region);
  require_text(f, "column", c.column, "the column of the gold choice");
}

void describe(Fields& f, NumberConfig& c) {
  f.field("column", c.column, "column of the row that holds the gold number");
  region_field(f, c.region);
  f.field("tolerance", c.tolerance, "largest distance that is still right", Bounds::at_least(0.0));
  require_text(f, "column", c.column, "the column of the gold number");
}

void describe(Fields& f, RegexConfig& c) {
  f.field("pattern", c.pattern, "regular expression (PCRE2)");
  f.field("column", c.column, "column of the row that holds the expression, instead of pattern");
  region_field(f, c.region);
  f.field("full", c.full, "the whole region must match");
  if (!f.reading()) return;
  if (c.pattern.empty() == c.column.empty()) {
    f.fail("pattern", "got both or neither of pattern and column, want one of them");
  }
}

std::unique_ptr<Term> make_term(const ChoiceConfig& config, const TermSetup& setup) {
  return std::make_unique<ChoiceTerm>(config, setup.where);
}
std::unique_ptr<Term> make_term(const NumberConfig& config, const TermSetup& setup) {
  return std::make_unique<NumberTerm>(config, setup.where);
}
std::unique_ptr<Term> make_term(const RegexConfig& config, const TermSetup& setup) {
  return std::make_unique<RegexTerm>(config, setup.where);
}

}  // namespace limbic::rewards
