#include "rewards/terms/label.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

using Weights = std::map<std::string, double>;
using Counts = std::map<std::string, std::int64_t>;

Counts counts_of(const Json& option) {
  Counts counts;
  for (const auto& [label, rows] : numbers_by_name(option)) {
    if (rows < 0 || rows != static_cast<double>(static_cast<std::int64_t>(rows))) {
      throw OptionError(fmt::format("got {} for {}, want a whole number of rows", rows, label));
    }
    counts[label] = static_cast<std::int64_t>(rows);
  }
  return counts;
}

Counts count_file(const std::string& path, const std::string& column, const std::string& where) {
  std::ifstream file(path);
  if (!file) throw ConfigError(fmt::format("{}: got '{}', want a readable file", where, path));
  Counts counts;
  std::string line;
  for (std::int64_t number = 1; std::getline(file, line); ++number) {
    if (strip(line).empty()) continue;
    const Json row = Json::parse(line, nullptr, false);
    if (!row.is_object()) {
      throw DataError(
          fmt::format("{}:{}: got no JSON object, want one row per line", path, number));
    }
    if (!row.contains(column) || row[column].is_null()) continue;
    const Json& value = row[column];
    for (const std::string& label :
         list_of(value.is_string() ? value.get<std::string>() : value.dump())) {
      ++counts[label];
    }
  }
  return counts;
}

Weights inverse_frequency(const Counts& raw, const Aliases& aliases, const std::string& where) {
  Counts counts;
  for (const auto& [text, rows] : raw) {
    if (rows > 0) counts[aliases.canonical(text)] += rows;
  }
  if (counts.empty()) {
    throw ConfigError(
        fmt::format("{}: got inverse_frequency without counts of the labels, want label_counts: "
                    "{{label: rows}} "
                    "or label_data: FILE.jsonl; a training run counts its own data",
                    where));
  }
  double mean = 0.0;
  for (const auto& [label, rows] : counts) mean += 1.0 / static_cast<double>(rows);
  mean /= static_cast<double>(counts.size());
  Weights weights;
  for (const auto& [label, rows] : counts) weights[label] = 1.0 / static_cast<double>(rows) / mean;
  return weights;
}

void check_class_weights(const Json& option) {
  if (!option.is_string()) {
    numbers_by_name(option);
  } else if (option != "none" && option != "inverse_frequency") {
    throw OptionError(fmt::format("got '{}', want none, inverse_frequency or {{label: weight}}",
                                  option.get<std::string>()));
  }
}

Weights class_weights(const LabelConfig& config, const LabelMatch& match, const TermSetup& setup) {
  check_class_weights(config.class_weights);
  const std::string where = setup.where + ".class_weights";
  Weights weights;
  if (!config.class_weights.is_string()) {
    for (const auto& [label, weight] : numbers_by_name(config.class_weights)) {
      weights[match.aliases().canonical(label)] = weight;
    }
    return weights;
  }
  if (config.class_weights == "none") return weights;
  Counts counts = counts_of(config.label_counts);
  if (counts.empty() && !config.label_data.empty()) {
    counts = count_file(config.label_data, match.column(), setup.where + ".label_data");
  }
  const auto run = setup.context.label_counts.find(match.column());
  if (counts.empty() && run != setup.context.label_counts.end()) counts = run->second;
  return inverse_frequency(counts, match.aliases(), where);
}

std::optional<data::EmotionWheel> wheel_of(const LabelConfig& config, const LabelMatch& match,
                                           const TermSetup& setup) {
  if (config.distance == LabelDistance::kNone) return std::nullopt;
  std::vector<std::string> emotions;
  for (const std::string& emotion : config.emotions) {
    emotions.push_back(match.aliases().canonical(emotion));
  }
  try {
    return data::EmotionWheel(emotions);
  } catch (const ConfigError& error) {
    throw ConfigError(
        fmt::format("{}.emotions, behind the aliases: {}", setup.where, error.what()));
  }
}

class LabelTerm final : public RowTerm {
 public:
  LabelTerm(LabelMatch match, Weights weights, std::optional<data::EmotionWheel> wheel)
      : match_(std::move(match)), weights_(std::move(weights)), wheel_(std::move(wheel)) {}

  std::vector<std::string> columns() const override { return {match_.column()}; }
  std::string tables() const override {
    std::string text = match_.aliases().text();
    for (const auto& [label, weight] : weights_) text += fmt::format("{}*{}\n", label, weight);
    return text;
  }

 protected:
  Result score_row(const Completion& row) const override {
    const LabelMatch::Verdict verdict = match_.compare(row);
    if (!verdict.has_gold) return Result::without_column(match_.column());
    if (wheel_) return graded(verdict);
    return Result::scored(verdict.right ? weight_of(verdict.gold) : 0.0, verdict.detail);
  }

 private:
  double weight_of(const std::string& label) const {
    const auto weight = weights_.find(label);
    return weight == weights_.end() ? 1.0 : weight->second;
  }

  Result graded(const LabelMatch::Verdict& verdict) const {
    const std::optional<std::size_t> given = wheel_->find(verdict.given);
    double best = 0.0;
    for (const std::string& gold : verdict.golds) {
      const std::optional<std::size_t> wanted = wheel_->find(gold);
      if (!wanted) {
        return Result::failed(fmt::format("column '{}': got '{}', want one of the emotions",
                                          match_.column(), shortened(gold)));
      }
      if (given) best = std::max(best, weight_of(gold) * wheel_->similarity(*given, *wanted));
    }
    return Result::scored(best, verdict.detail);
  }

  LabelMatch match_;
  Weights weights_;
  std::optional<data::EmotionWheel> wheel_;
};

void describe_distance(Fields& f, LabelConfig& c) {
  f.choice("distance", c.distance,
           {{LabelDistance::kNone, "none"}, {LabelDistance::kWheel, "wheel"}},
           "wheel: a wrong answer is worth its similarity to the label on the emotion wheel");
  f.field("emotions", c.emotions, "wheel: all labels of the task");
  if (!f.reading()) return;
  if (c.distance == LabelDistance::kNone) {
    if (!c.emotions.empty()) f.fail("emotions", "got emotions without distance: wheel, want both");
    return;
  }
  try {
    data::EmotionWheel{c.emotions};
  } catch (const ConfigError& error) {
    f.fail("emotions", error.what());
  }
}

}  // namespace

void describe(Fields& f, MatchConfig& c) {
  f.field("column", c.column, "column of the row that holds the gold label");
  region_field(f, c.region);
  f.field("aliases", c.aliases, "file of `label: [other words]`, such a section, or ekman");
  f.field("normalize", c.normalize,
          "what happens to gold and answer before they are compared: lower, strip_punctuation");
  check_option(f, "normalize", [&] { text_rules(c.normalize); });
}

LabelMatch::LabelMatch(const MatchConfig& config, const std::string& where)
    : column_(config.column),
      region_(config.region),
      aliases_(Aliases::parse(config.aliases, text_rules(config.normalize), where + ".aliases")) {}

LabelMatch::Verdict LabelMatch::compare(const Completion& row) const {
  Verdict verdict;
  const std::string* column = column_of(row, column_);
  if (column == nullptr || strip(*column).empty()) return verdict;
  const std::optional<std::string_view> answer = region_.find(row.text);
  if (answer) verdict.given = aliases_.canonical(*answer);
  for (const std::string& item : list_of(*column)) {
    verdict.golds.push_back(aliases_.canonical(item));
  }
  if (verdict.golds.empty()) return verdict;
  verdict.has_gold = true;
  const auto match = std::find(verdict.golds.begin(), verdict.golds.end(), verdict.given);
  verdict.right = answer && match != verdict.golds.end();
  verdict.gold = verdict.right ? *match : verdict.golds.front();
  if (!answer) {
    verdict.detail = fmt::format("no {} in the completion", region_.name());
  } else {
    verdict.detail =
        fmt::format("{} for {}", shortened(verdict.given.empty() ? "nothing" : verdict.given),
                    shortened(verdict.gold));
  }
  return verdict;
}

void describe(Fields& f, LabelConfig& c) {
  describe(f, c.match);
  require_text(f, "column", c.match.column, "the column of the gold label");
  f.field("class_weights", c.class_weights, "none, inverse_frequency or {label: weight}");
  f.field("label_counts", c.label_counts, "rows per label, for inverse_frequency");
  f.field("label_data", c.label_data, "JSON-lines file to count labels in, for inverse_frequency");
  check_option(f, "class_weights", [&] { check_class_weights(c.class_weights); });
  check_option(f, "label_counts", [&] { counts_of(c.label_counts); });
  describe_distance(f, c);
}

std::unique_ptr<Term> make_term(const LabelConfig& config, const TermSetup& setup) {
  LabelMatch match(config.match, setup.where);
  Weights weights = class_weights(config, match, setup);
  std::optional<data::EmotionWheel> wheel = wheel_of(config, match, setup);
  return std::make_unique<LabelTerm>(std::move(match), std::move(weights), std::move(wheel));
}

}  // namespace limbic::rewards
