#include "rewards/terms/set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "rewards/aliases.h"
#include "rewards/pattern.h"
#include "rewards/terms/option.h"

namespace limbic::rewards {
namespace {

using Elements = std::set<std::string>;

std::pair<double, double> affine_of(const Json& option) {
  if (!option.is_array() || option.size() != 2 || !option[0].is_number() ||
      !option[1].is_number()) {
    throw OptionError(fmt::format("got {}, want [factor, offset]", shortened(option.dump())));
  }
  return {option[0].get<double>(), option[1].get<double>()};
}

std::optional<double> empty_gold_of(const Json& option) {
  if (option.is_number()) return option.get<double>();
  if (option == "not_applicable") return std::nullopt;
  throw OptionError(
      fmt::format("got {}, want not_applicable or a number", shortened(option.dump())));
}

std::string vocabulary_pattern(std::vector<std::string> words) {
  std::stable_sort(words.begin(), words.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  for (std::string& word : words) word = quoted_pattern(word);
  return fmt::format("(?<!\\w)(?:{})(?!\\w)", fmt::join(words, "|"));
}

// What finds one element in a text.
struct Search {
  std::string pattern;
  std::string option;  // that it comes from
  Letters letters = Letters::kAnyCase;
};

Search search_of(const SetConfig& config, const Aliases& aliases) {
  if (!config.vocabulary.empty()) return {vocabulary_pattern(config.vocabulary), ".vocabulary"};
  if (aliases.words().empty() || config.pattern != SetConfig().pattern) {
    return {config.pattern, ".pattern", Letters::kAsWritten};
  }
  std::vector<std::string> words;
  for (const auto& [word, label] : aliases.words()) words.push_back(word);
  return {vocabulary_pattern(std::move(words)), ".aliases"};
}

class SetTerm final : public RowTerm {
 public:
  SetTerm(const SetConfig& config, Aliases aliases, const Search& search, const std::string& where)
      : config_(config),
        aliases_(std::move(aliases)),
        region_(config.region),
        finder_(search.pattern, where + search.option, search.letters),
        affine_(affine_of(config.affine)),
        empty_gold_(empty_gold_of(config.empty_gold)) {
    for (const auto& [name, weight] : numbers_by_name(config.element_weights)) {
      weights_[element_name(name)] = weight;
    }
  }

  std::vector<std::string> columns() const override { return {config_.column}; }
  std::string tables() const override { return aliases_.text(); }

 protected:
  Result score_row(const Completion& row) const override {
    const std::string* column = column_of(row, config_.column);
    if (column == nullptr) return Result::without_column(config_.column);
    const Elements gold = gold_of(*column);
    const std::optional<std::string_view> text = region_.find(row.text);
    const Elements named = text ? find(*text) : Elements();
    const std::string detail =
        shortened(fmt::format("{} for {}", fmt::join(named, " "), fmt::join(gold, " ")));
    if (gold.empty()) {
      return empty_gold_ ? mapped(*empty_gold_, detail)
                         : Result::not_applicable("the gold set is empty");
    }
    if (named.empty()) return mapped(config_.empty_prediction, detail);
    return mapped(measure(named, gold), detail);
  }

 private:
  std::string element_name(std::string_view text) const {
    if (const std::optional<int> unit = action_unit(text)) return fmt::format("au{}", *unit);
    return aliases_.canonical(text);
  }

  Elements find(std::string_view text) const {
    Elements elements;
    for (const Pattern::Match& match : finder_.find_all(text)) {
      elements.insert(element_name(match.text));
    }
    return elements;
  }

  Elements gold_of(const std::string& column) const {
    Elements gold;
    if (!column.starts_with('[')) gold = find(column);
    if (!gold.empty()) return gold;
    for (const std::string& item : items_of(column)) {
      const Elements found = find(item);
      if (!found.empty()) {
        gold.insert(found.begin(), found.end());
      } else if (const auto number = parse_number(item); number && names_action_units()) {
        gold.insert(element_name("AU" + std::string(strip(item))));
      } else {
        gold.insert(element_name(item));
      }
    }
    return gold;
  }

  static std::vector<std::string> items_of(const std::string& column) {
    if (column.starts_with('[')) return list_of(column);
    std::vector<std::string> items;
    std::size_t begin = 0;
    while (begin <= column.size()) {
      const std::size_t end = std::min(column.find(',', begin), column.size());
      const std::string_view item = strip(std::string_view(column).substr(begin, end - begin));
      if (!item.empty()) items.emplace_back(item);
      begin = end + 1;
    }
    return items;
  }

  // Lists of bare numbers are action units when action units are looked for.
  bool names_action_units() const { return config_.vocabulary.empty() && finder_.search("AU1"); }

  double weight_of(const Elements& elements) const {
    double sum = 0.0;
    for (const std::string& element : elements) {
      const auto weight = weights_.find(element);
      sum += weight == weights_.end() ? 1.0 : weight->second;
    }
    return sum;
  }

  double measure(const Elements& named, const Elements& gold) const {
    Elements both;
    std::set_intersection(named.begin(), named.end(), gold.begin(), gold.end(),
                          std::inserter(both, both.end()));
    const double hit = weight_of(both);
    if (hit == 0.0) return 0.0;
    const double precision = hit / weight_of(named);
    const double recall = hit / weight_of(gold);
    switch (config_.measure) {
      case SetMeasure::kPrecision:
        return precision;
      case SetMeasure::kRecall:
        return recall;
      case SetMeasure::kJaccard:
        return hit / (weight_of(named) + weight_of(gold) - hit);
      case SetMeasure::kF1:
      case SetMeasure::kFbeta:
        break;
    }
    const double b2 = config_.measure == SetMeasure::kF1 ? 1.0 : config_.beta * config_.beta;
    return (1.0 + b2) * precision * recall / (b2 * precision + recall);
  }

  Result mapped(double measured, const std::string& detail) const {
    return Result::scored(affine_.first * measured + affine_.second, detail);
  }

  SetConfig config_;
  Aliases aliases_;
  Region region_;
  Pattern finder_;
  std::pair<double, double> affine_;
  std::optional<double> empty_gold_;
  std::map<std::string, double> weights_;
};

}  // namespace

void describe(Fields& f, SetConfig& c) {
  f.field("column", c.column, "column of the row that holds the gold set");
  region_field(f, c.region);
  f.field("pattern", c.pattern, "regular expression of one element");
  f.field("vocabulary", c.vocabulary, "the possible elements, instead of a pattern");
  f.field("aliases", c.aliases,
          "file of `label: [other words]`, such a section, or ekman; the words of a label are one "
          "element");
  f.choice("measure", c.measure,
           {{SetMeasure::kF1, "f1"},
            {SetMeasure::kFbeta, "fbeta"},
            {SetMeasure::kJaccard, "jaccard"},
            {SetMeasure::kPrecision, "precision"},
            {SetMeasure::kRecall, "recall"}},
           "how the sets are compared");
  f.field("beta", c.beta, "weight of recall in fbeta", Bounds::positive());
  f.field("affine", c.affine, "[factor, offset] of the measure");
  f.field("empty_prediction", c.empty_prediction, "measure when the completion names nothing");
  f.field("empty_gold", c.empty_gold, "measure when the gold set is empty, or not_applicable");
  f.field("element_weights", c.element_weights, "weight per element, default 1");
  require_text(f, "column", c.column, "the column of the gold set");
  check_option(f, "affine", [&] { affine_of(c.affine); });
  check_option(f, "empty_gold", [&] { empty_gold_of(c.empty_gold); });
  check_option(f, "element_weights", [&] {
    for (const auto& [name, weight] : numbers_by_name(c.element_weights)) {
      if (weight < 0) throw OptionError(fmt::format("got {} for {}, want 0 or more", weight, name));
    }
  });
  if (!f.reading()) return;
  if (!c.vocabulary.empty() && c.pattern != SetConfig().pattern) {
    f.fail("vocabulary", "got both a pattern and a vocabulary, want one");
  }
  require_text(f, "pattern", c.pattern, "a regular expression");
  for (const std::string& word : c.vocabulary) require_text(f, "vocabulary", word, "words");
}

std::unique_ptr<Term> make_term(const SetConfig& config, const TermSetup& setup) {
  Aliases aliases = Aliases::parse(config.aliases, {}, setup.where + ".aliases");
  const Search search = search_of(config, aliases);
  return std::make_unique<SetTerm>(config, std::move(aliases), search, setup.where);
}

}  // namespace limbic::rewards
