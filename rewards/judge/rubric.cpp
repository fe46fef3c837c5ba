#include "rewards/judge/rubric.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "rewards/builtin_tables.h"
#include "rewards/terms/option.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/yaml_config.h"

namespace limbic::rewards {
namespace {

struct Builtin {
  std::string_view name;
  std::string_view (*text)();
};
constexpr std::array kBuiltins = {Builtin{"emobserver", builtin_emobserver},
                                  Builtin{"kardia", builtin_kardia},
                                  Builtin{"mentra", builtin_mentra}};

// Names are keys of the judge's reply and of metrics.
bool is_item_name(std::string_view name) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 64 && fits(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return fits(c) || c == '_'; });
}

void item_fields(Fields& f, std::string& name, std::string& question) {
  f.field("name", name, "in the judge's reply and in metrics: lower-case letters, digits and _");
  f.field("question", question, "what the judge answers");
  if (!f.reading()) return;
  if (!is_item_name(name) || name == kReasonsKey || name == kTicketKey) {
    f.fail("name", fmt::format("got '{}', want lower-case letters, digits and _, and neither {} "
                               "nor {}",
                               shortened(name), kReasonsKey, kTicketKey));
  }
  require_text(f, "question", question, "the question of the item");
}

void check_scale(const Fields& f, const RubricConfig& c) {
  if (c.scale.size() != 2 || c.scale[0] >= c.scale[1] || c.scale[0] < 0 || c.scale[1] > 100) {
    f.fail("scale", "want [lowest, highest], two whole numbers of 0 to 100, the lower first");
  }
  for (const AxisConfig& axis : c.axes) {
    for (const auto& [value, meaning] : axis.anchors) {
      std::int64_t number = 0;
      const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
      const bool inside = error == std::errc() && stop == value.data() + value.size() &&
                          number >= c.scale[0] && number <= c.scale[1];
      if (!inside) {
        f.fail("axes", fmt::format("got the anchor '{}' of {}, want a whole number of {} to {}",
                                   shortened(value), axis.name, c.scale[0], c.scale[1]));
      }
    }
  }
}

void check_items(const Fields& f, const RubricConfig& c) {
  if (c.axes.empty() && c.criteria.empty()) {
    f.fail("axes", "got neither axes nor criteria, want at least one of them");
  }
  std::set<std::string> names;
  double weights = 0.0;
  const auto add = [&](const std::string& name) {
    if (!names.insert(name).second) {
      f.fail("axes", fmt::format("got the name '{}' twice, want one per item", name));
    }
  };
  for (const AxisConfig& axis : c.axes) add(axis.name), weights += axis.weight;
  for (const CriterionConfig& item : c.criteria) add(item.name), weights += item.weight;
  for (const VetoConfig& veto : c.vetoes) add(veto.name);
  if (weights <= 0.0) f.fail("axes", "got weights that are all 0, want one above 0");
}

void scale_field(Fields& f, std::vector<std::int64_t>& scale) {
  Json value = scale;
  f.field("scale", value, "[lowest, highest] value of an axis, whole numbers");
  if (!f.reading()) return;
  const bool whole = value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& v) {
                       return v.is_number_integer();
                     });
  if (!whole) {
    f.fail("scale", fmt::format("got {}, want [lowest, highest]", shortened(value.dump())));
  }
  scale = value.get<std::vector<std::int64_t>>();
}

}  // namespace

void describe(Fields& f, AxisConfig& c) {
  item_fields(f, c.name, c.question);
  f.field("weight", c.weight, "share of the axis in the mean", Bounds::at_least(0.0));
  f.field("anchors", c.anchors, "{value: what it looks like}, for some values of the scale");
}

void describe(Fields& f, CriterionConfig& c) {
  item_fields(f, c.name, c.question);
  f.field("weight", c.weight, "share of the criterion in the mean", Bounds::at_least(0.0));
  f.choice("good", c.good,
           {{CriterionConfig::Good::kYes, "yes"}, {CriterionConfig::Good::kNo, "no"}},
           "the answer that counts 1");
}

void describe(Fields& f, VetoConfig& c) {
  item_fields(f, c.name, c.question);
  f.field("at_most", c.at_most, "highest share of the whole rubric when the answer is yes",
          Bounds::between(0.0, 1.0));
}

void describe(Fields& f, RubricConfig& c) {
  f.field("about", c.about, "what is judged, in a few sentences for the judge");
  f.field("prompt", c.prompt, "Jinja source of the judge's prompt; empty = the built-in one");
  scale_field(f, c.scale);
  f.list("axes", c.axes, "questions answered by a whole number of the scale");
  f.list("criteria", c.criteria, "questions answered by yes or no");
  f.list("vetoes", c.vetoes, "questions whose yes holds the value down");
  if (!f.reading()) return;
  require_text(f, "about", c.about, "what is judged");
  check_scale(f, c);
  check_items(f, c);
}

Rubric::Rubric(const RubricConfig& config)
    : about_(config.about),
      prompt_(config.prompt.empty() ? std::string(builtin_judge_prompt()) : config.prompt),
      lowest_(config.scale.at(0)),
      highest_(config.scale.at(1)) {
  using Kind = RubricItem::Kind;
  for (const AxisConfig& axis : config.axes) {
    items_.push_back({Kind::kAxis, axis.name, axis.question, axis.weight, true, 0.0, axis.anchors});
  }
  for (const CriterionConfig& item : config.criteria) {
    items_.push_back({Kind::kCriterion,
                      item.name,
                      item.question,
                      item.weight,
                      item.good == CriterionConfig::Good::kYes,
                      0.0,
                      {}});
  }
  for (const VetoConfig& veto : config.vetoes) {
    items_.push_back({Kind::kVeto, veto.name, veto.question, 0.0, false, veto.at_most, {}});
  }
  RubricConfig whole = config;
  whole.prompt = prompt_;
  hash_ = sha256(YamlWriter().write(whole));
}

Rubric Rubric::load(const std::string& name_or_path) {
  RubricConfig config;
  for (const Builtin& builtin : kBuiltins) {
    if (builtin.name != name_or_path) continue;
    YamlDocument::parse(std::string(builtin.text()), name_or_path).read(config);
    return Rubric(config);
  }
  YamlDocument::load(name_or_path).read(config);
  return Rubric(config);
}

std::vector<std::string> Rubric::builtin_names() {
  std::vector<std::string> names;
  for (const Builtin& builtin : kBuiltins) names.emplace_back(builtin.name);
  return names;
}

}  // namespace limbic::rewards
