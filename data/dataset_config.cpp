#include "data/dataset_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "data/text_template.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

void describe(Fields& f, DatasetConfig& c) {
  f.require("path");
  f.field("path", c.path, "JSON lines: .jsonl, .jsonl.gz, .jsonl.zst, or a list of them");
  f.field("columns", c.columns, "our name of a column: the file's name");
  f.field("prompt", c.prompt, "template of the user message, with columns as {name}");
  f.field("system", c.system, "system message in front of every conversation");
  f.field("response", c.response, "template of the assistant message, with columns as {name}");
  f.field("repeat", c.repeat, "weight in a mix: how often every row is used", Bounds::at_least(1));
  f.field("sample", c.sample, "all, first:N, random:N or random:N%");
  f.field("filter", c.filter, "{column, in: [...]} or {column, not_in: [...]}, or a list of them");
  if (!f.reading()) return;

  if (c.path.empty()) f.fail("path", "got an empty list, want at least one file");
  for (const std::string& path : c.path) {
    if (path.empty()) f.fail("path", "got an empty name, want a file");
  }
  for (const auto& [ours, theirs] : c.columns) {
    if (theirs.empty()) {
      f.fail("columns", fmt::format("got an empty name for '{}', want the file's name", ours));
    }
  }
  f.rule("prompt", [&] { TextTemplate{c.prompt}; });
  f.rule("response", [&] { TextTemplate{c.response}; });
  f.rule("sample", [&] { parse_sample(c.sample); });
  f.rule("filter", [&] { RowFilter{c.filter}; });
}

Sample parse_sample(const std::string& text) {
  const auto wrong = [&]() -> ConfigError {
    return ConfigError(fmt::format(
        "got '{}', want all, first:N, random:N or random:N% with N above 0 (N% at most 100)",
        text));
  };
  if (text == "all") return {};
  Sample sample;
  std::string_view number = text;
  if (number.starts_with("first:")) {
    sample.kind = Sample::Kind::kFirst;
    number.remove_prefix(6);
  } else if (number.starts_with("random:")) {
    sample.kind = Sample::Kind::kRandom;
    number.remove_prefix(7);
  } else {
    throw wrong();
  }
  if (sample.kind == Sample::Kind::kRandom && number.ends_with('%')) {
    sample.kind = Sample::Kind::kRandomPercent;
    number.remove_suffix(1);
    if (!parse_number(number, sample.percent)) throw wrong();
    if (!(sample.percent > 0.0 && sample.percent <= 100.0)) throw wrong();
    return sample;
  }
  if (!parse_number(number, sample.rows) || sample.rows < 1) throw wrong();
  return sample;
}

RowFilter::RowFilter(const Json& filter) {
  if (filter.is_null()) return;
  const Json list = filter.is_array() ? filter : Json::array({filter});
  for (const Json& item : list) {
    const bool wanted = item.is_object() && item.contains("in");
    const char* const key = wanted ? "in" : "not_in";
    if (!item.is_object() || item.size() != 2 || !item.contains("column") || !item.contains(key)) {
      throw ConfigError(fmt::format(
          "got {}, want {{column, in: [...]}} or {{column, not_in: [...]}}", item.dump()));
    }
    if (!item["column"].is_string() || !item[key].is_array() || item[key].empty()) {
      throw ConfigError(fmt::format(
          "got {}, want the column's name and a list of at least one value", item.dump()));
    }
    conditions_.push_back(
        {item["column"].get<std::string>(), item[key].get<std::vector<Json>>(), wanted});
  }
}

bool RowFilter::keeps(const Row& row) const {
  for (const Condition& condition : conditions_) {
    const auto found = row.value.find(condition.column);
    const Json& value =
        found != row.value.end() ? *found : want_column(row, condition.column, "it for 'filter'");
    const bool listed = std::find(condition.values.begin(), condition.values.end(), value) !=
                        condition.values.end();
    if (listed != condition.wanted) return false;
  }
  return true;
}

Json rename_columns(Json value, const DatasetConfig& config) {
  if (config.columns.empty()) return value;
  Json renamed = Json::object();
  for (const auto& [name, item] : value.items()) {
    bool listed = false;
    bool hidden = false;
    for (const auto& [ours, theirs] : config.columns) {
      hidden = hidden || ours == name;
      if (theirs != name) continue;
      renamed[ours] = item;
      listed = true;
    }
    if (!listed && !hidden) renamed[name] = item;
  }
  return renamed;
}

}  // namespace limbic::data
