#include "data/curriculum.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "trainer/base/error.h"

namespace limbic::data {

void describe(Fields& f, CurriculumConfig& c) {
  f.require("difficulty");
  f.field(
      "difficulty", c.difficulty,
      "column:NAME (a number per row), emotion_shifts (of the conversation), length (tokens) or "
      "loss (of the starting model)");
  f.field("buckets", c.buckets, "parts of equal size, from easy to hard", Bounds::at_least(1));
  f.choice("schedule", c.schedule,
           {{CurriculumSchedule::kCumulative, "cumulative"},
            {CurriculumSchedule::kSequential, "sequential"}},
           "level k: buckets 0 to k, or bucket k alone");
  f.field("epochs_per_level", c.epochs_per_level, "epochs over the rows of a level",
          Bounds::at_least(1));
  f.field("reverse", c.reverse, "from hard to easy");
  f.section("emotion_shifts", c.emotion_shifts, "what a conversation's shifts are read from");
  if (!f.reading()) return;
  try {
    const bool shifts =
        parse_difficulty(c.difficulty).kind == DifficultySource::Kind::kEmotionShifts;
    if (shifts != c.emotion_shifts.has_value()) {
      throw ConfigError(fmt::format("got '{}' {} an emotion_shifts section, want both or neither",
                                    c.difficulty, shifts ? "without" : "beside"));
    }
  } catch (const ConfigError& error) {
    f.fail("difficulty", error.what());
  }
}

DifficultySource parse_difficulty(const std::string& text) {
  constexpr std::string_view kColumn = "column:";
  if (text == "emotion_shifts") return {DifficultySource::Kind::kEmotionShifts, ""};
  if (text == "length") return {DifficultySource::Kind::kLength, ""};
  if (text == "loss") return {DifficultySource::Kind::kLoss, ""};
  if (text.starts_with(kColumn) && text.size() > kColumn.size()) {
    return {DifficultySource::Kind::kColumn, text.substr(kColumn.size())};
  }
  throw ConfigError(
      fmt::format("got '{}', want column:NAME, emotion_shifts, length or loss", text));
}

std::vector<double> column_difficulty(const Mixture& rows, const std::string& column) {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(rows.size()));
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const Row row = rows.row(i);
    const Json& value = want_column(row, column, "a number for 'curriculum.difficulty'");
    if (!value.is_number()) {
      fail_row(row, fmt::format("got {} in column '{}', want a number for 'curriculum.difficulty'",
                                in_words(value), column));
    }
    values.push_back(value.get<double>());
  }
  return values;
}

std::vector<std::vector<std::int64_t>> curriculum_levels(std::span<const double> difficulty,
                                                         const CurriculumConfig& config) {
  const auto rows = static_cast<std::int64_t>(difficulty.size());
  if (rows < config.buckets) {
    throw ConfigError(fmt::format(
        "curriculum.buckets: got {} for {} rows, want at most one per row", config.buckets, rows));
  }
  for (std::size_t i = 0; i < difficulty.size(); ++i) {
    if (!std::isfinite(difficulty[i])) {
      throw DataError(
          fmt::format("got difficulty {} for row {}, want a finite number", difficulty[i], i));
    }
  }
  std::vector<std::int64_t> order(difficulty.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const double left = difficulty[static_cast<std::size_t>(a)];
    const double right = difficulty[static_cast<std::size_t>(b)];
    return config.reverse ? left > right : left < right;
  });
  std::vector<std::vector<std::int64_t>> levels;
  for (std::int64_t k = 0; k < config.buckets; ++k) {
    const bool cumulative = config.schedule == CurriculumSchedule::kCumulative;
    const std::int64_t begin = cumulative ? 0 : rows * k / config.buckets;
    const std::int64_t end = rows * (k + 1) / config.buckets;
    levels.emplace_back(order.begin() + begin, order.begin() + end);
  }
  return levels;
}

}  // namespace limbic::data
