#include "rewards/terms/option.h"

#include <fmt/format.h>

#include "trainer/base/yaml_config.h"

namespace limbic::rewards {

void require_text(Fields& f, std::string_view key, const std::string& value,
                  const std::string& want) {
  if (f.reading() && value.empty()) f.fail(key, fmt::format("got nothing, want {}", want));
}

void region_field(Fields& f, std::vector<std::string>& region) {
  f.field("region", region,
          "tag whose last complete pair holds the text to look at, or [opening, closing] markers; "
          "empty = the whole completion");
  if (!f.reading()) return;
  const bool empty_marker = region.size() == 1   ? region[0].empty()
                            : region.size() == 2 ? region[0].empty() || region[1].empty()
                                                 : !region.empty();
  if (empty_marker) {
    f.fail("region", fmt::format("got {} markers or an empty one, want a tag's name or [opening, "
                                 "closing]; leave the key out for the whole completion",
                                 region.size()));
  }
}

TextRules text_rules(const std::vector<std::string>& steps) {
  TextRules rules{.lower = false, .strip_punctuation = false};
  for (const std::string& step : steps) {
    if (step == "lower") {
      rules.lower = true;
    } else if (step == "strip_punctuation") {
      rules.strip_punctuation = true;
    } else {
      const std::string near = nearest_name(step, {"lower", "strip_punctuation"});
      throw OptionError(fmt::format("got '{}', want a list of lower and strip_punctuation{}", step,
                                    near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
  }
  return rules;
}

std::vector<std::pair<std::string, double>> numbers_by_name(const Json& option) {
  std::vector<std::pair<std::string, double>> numbers;
  if (option.is_null()) return numbers;
  if (!option.is_object()) {
    throw OptionError(fmt::format("got {}, want `name: number` lines", shortened(option.dump())));
  }
  for (const auto& [name, value] : option.items()) {
    if (!value.is_number()) {
      throw OptionError(fmt::format("got {} for {}, want a number", shortened(value.dump()), name));
    }
    numbers.emplace_back(name, value.get<double>());
  }
  return numbers;
}

std::pair<double, double> bounds_of(const Json& option) {
  if (!option.is_array() || option.size() != 2 || !option[0].is_number() ||
      !option[1].is_number()) {
    throw OptionError(fmt::format("got {}, want [low, high]", shortened(option.dump())));
  }
  const double low = option[0].get<double>();
  const double high = option[1].get<double>();
  if (low > high) throw OptionError(fmt::format("got [{}, {}], want low <= high", low, high));
  return {low, high};
}

}  // namespace limbic::rewards
