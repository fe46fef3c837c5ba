#include "rewards/terms/tiou.h"

#include <fmt/format.h>

#include <algorithm>

#include "rewards/pattern.h"
#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

// In seconds.
struct Span {
  double start = 0.0;
  double end = 0.0;
};

double overlap(const Span& a, const Span& b) {
  const double shared = std::min(a.end, b.end) - std::max(a.start, b.start);
  if (shared <= 0.0) return 0.0;
  return shared / ((a.end - a.start) + (b.end - b.start) - shared);
}

// "01:02:03.5": every part counts sixty of the one behind it.
std::optional<double> seconds_of(std::string_view time) {
  double seconds = 0.0;
  while (true) {
    const std::size_t colon = std::min(time.find(':'), time.size());
    const std::optional<double> part = parse_number(time.substr(0, colon));
    if (!part) return std::nullopt;
    seconds = seconds * 60.0 + *part;
    if (colon == time.size()) return seconds;
    time.remove_prefix(colon + 1);
  }
}

class TiouTerm final : public RowTerm {
 public:
  TiouTerm(const TiouConfig& config, const std::string& where)
      : column_(config.column),
        region_(config.region),
        time_("(?<![\\w.:])\\d+(?::\\d{1,2}){0,2}(?:\\.\\d+)?(?![:\\d])", where) {}

  std::vector<std::string> columns() const override { return {column_}; }

 protected:
  Result score_row(const Completion& row) const override {
    const std::string* column = column_of(row, column_);
    if (column == nullptr || strip(*column).empty()) return Result::without_column(column_);
    const std::vector<double> wanted = times_of(*column);
    if (wanted.size() != 2 || wanted[0] >= wanted[1]) {
      return Result::failed(
          fmt::format("column '{}': got '{}', want [start, end] with an end "
                      "behind the start",
                      column_, shortened(*column)));
    }
    const std::optional<std::string_view> text = region_.find(row.text);
    if (!text) return Result::scored(0.0, fmt::format("no {} in the completion", region_.name()));
    const std::vector<double> given = times_of(*text);
    if (given.size() < 2) return Result::scored(0.0, "no start and end");
    const Span answer{given[given.size() - 2], given.back()};
    const Span gold{wanted[0], wanted[1]};
    return Result::scored(overlap(answer, gold), fmt::format("{} to {} for {} to {}", answer.start,
                                                             answer.end, gold.start, gold.end));
  }

 private:
  std::vector<double> times_of(std::string_view text) const {
    std::vector<double> times;
    for (const Pattern::Match& match : time_.find_all(text)) {
      if (const std::optional<double> time = seconds_of(match.text)) times.push_back(*time);
    }
    return times;
  }

  std::string column_;
  Region region_;
  Pattern time_;
};

}  // namespace

void describe(Fields& f, TiouConfig& c) {
  f.field("column", c.column, "column of the row that holds [start, end]");
  region_field(f, c.region);
  require_text(f, "column", c.column, "the column of the gold times");
}

std::unique_ptr<Term> make_term(const TiouConfig& config, const TermSetup& setup) {
  return std::make_unique<TiouTerm>(config, setup.where);
}

}  // namespace limbic::rewards
