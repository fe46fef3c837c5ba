// Jinja's built-in filters, and transformers' `tojson`.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/template/jinja/library/registry.h"
#include "data/template/jinja/library/sequence_filters.h"
#include "data/template/jinja/operations.h"
#include "data/template/jinja/printing.h"
#include "data/template/jinja/text.h"

namespace limbic::data::jinja {
namespace {

using Items = std::vector<Value>;

// A text of the filter's own making, within the limit.
Value text_result(std::string text, Budget& budget) {
  budget.text(text.size());
  return Value(std::move(text));
}

std::int64_t integer_or(const std::optional<Value>& value, std::int64_t otherwise) {
  if (!value) return otherwise;
  if (const auto integer = value->as_integer()) return *integer;
  require_defined(*value);
  throw TemplateError(fmt::format("got {}, want an integer", repr(*value)));
}

bool flag_or(const std::optional<Value>& value, bool otherwise) {
  return value ? truthy(*value) : otherwise;
}

Value absolute(const Value& input, const Args& args, Budget&) {
  args.bind("abs", {});
  if (const auto integer = input.as_integer())
    return *integer < 0 ? negate(input) : Value(*integer);
  if (const auto number = input.as_number()) return Value(std::fabs(*number));
  require_defined(input);
  throw TemplateError(fmt::format("bad operand type for abs(): '{}'", type_name(input)));
}

Value attr(const Value& input, const Args& args, Budget&) {
  const auto bound = args.bind("attr", {"name"});
  if (!bound[0]) throw TemplateError("attr wants a name");
  require_defined(input);
  const Namespace* space = input.as_namespace();
  const Value* held = space ? space->attributes.find_name(to_text(*bound[0])) : nullptr;
  // Unlike `.`, it never looks into a dict.
  return held ? *held
              : Value::undefined(fmt::format("'{} object' has no attribute {}", type_name(input),
                                             repr(*bound[0])));
}

Value capitalize_filter(const Value& input, const Args& args, Budget& budget) {
  args.bind("capitalize", {});
  return text_result(capitalize(to_text(input)), budget);
}

Value default_filter(const Value& input, const Args& args, Budget&) {
  const auto bound = args.bind("default", {"default_value", "boolean"});
  const bool replaced = input.is_undefined() || (flag_or(bound[1], false) && !truthy(input));
  return replaced ? bound[0].value_or(Value("")) : input;
}

Value escape_filter(const Value& input, const Args& args, Budget& budget) {
  args.bind("escape", {});
  if (input.is_markup()) return input;
  std::string text = escape_html(to_text(input));
  budget.text(text.size());
  return Value::markup(std::move(text));
}

Value float_filter(const Value& input, const Args& args, Budget&) {
  const auto bound = args.bind("float", {"default"});
  if (const auto number = input.as_number()) return Value(*number);
  require_defined(input);
  if (const std::string* text = input.as_text()) {
    const std::string digits(strip(*text));
    double value = 0.0;
    const char* start = digits.data() + (digits.starts_with('+') ? 1 : 0);
    const auto parsed = std::from_chars(start, digits.data() + digits.size(), value);
    if (parsed.ec == std::errc{} && parsed.ptr == digits.data() + digits.size())
      return Value(value);
  }
  return bound[0].value_or(Value(0.0));
}

std::optional<std::int64_t> parse_integer(const std::string& text, int base) {
  std::string digits(strip(text));
  std::erase(digits, '_');
  const char* start = digits.data() + (digits.starts_with('+') ? 1 : 0);
  std::int64_t value = 0;
  const auto parsed = std::from_chars(start, digits.data() + digits.size(), value, base);
  if (parsed.ec == std::errc::result_out_of_range) {
    throw TemplateError("an integer does not fit 64 bits (limit)");
  }
  if (parsed.ec != std::errc{} || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

Value int_filter(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("int", {"default", "base"});
  if (const auto integer = input.as_integer()) return Value(*integer);
  const Value otherwise = bound[0].value_or(Value(std::int64_t{0}));
  const std::int64_t base = integer_or(bound[1], 10);
  if (base < 2 || base > 36)
    throw TemplateError(fmt::format("int: got base {}, want 2 to 36", base));
  if (const std::string* text = input.as_text()) {
    if (const auto integer = parse_integer(*text, static_cast<int>(base))) return Value(*integer);
  }
  const Value number = float_filter(input, Args{{Value()}, {}}, budget);
  if (number.is_none() || !std::isfinite(*number.as_number())) return otherwise;
  const double whole = std::trunc(*number.as_number());
  if (std::fabs(whole) >= 9.2e18) throw TemplateError("an integer does not fit 64 bits (limit)");
  return Value(static_cast<std::int64_t>(whole));
}

Value indent(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("indent", {"width", "first", "blank"});
  require_defined(input);
  if (!input.as_text()) throw TemplateError(fmt::format("got {}, want a str", type_name(input)));
  std::string margin;
  if (bound[0] && bound[0]->as_text()) {
    margin = *bound[0]->as_text();
  } else {
    const std::int64_t width = std::max<std::int64_t>(integer_or(bound[0], 4), 0);
    budget.text(static_cast<std::size_t>(width));
    margin.assign(static_cast<std::size_t>(width), ' ');
  }
  const bool blank = flag_or(bound[2], false);
  std::string out;
  bool is_first = true;
  // The text gets a line end of its own, as in Jinja, so that its last line counts.
  for (const std::string& line : split_lines(to_text(input) + "\n", false)) {
    if (!is_first) out += '\n';
    const bool wanted = is_first ? flag_or(bound[1], false) : (blank || !line.empty());
    if (wanted) out += margin;
    out += line;
    budget.text(out.size());
    is_first = false;
  }
  return Value(std::move(out));
}

Value length_filter(const Value& input, const Args& args, Budget&) {
  args.bind("length", {});
  return Value::size(length(input));
}

Value lower(const Value& input, const Args& args, Budget& budget) {
  args.bind("lower", {});
  return text_result(to_lower(to_text(input)), budget);
}

Value upper(const Value& input, const Args& args, Budget& budget) {
  args.bind("upper", {});
  return text_result(to_upper(to_text(input)), budget);
}

Value replace_filter(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("replace", {"old", "new", "count"});
  if (!bound[0] || !bound[1]) throw TemplateError("replace wants two texts");
  const std::int64_t count = bound[2] && !bound[2]->is_none() ? integer_or(bound[2], -1) : -1;
  return replaced_text(to_text(input), to_text(*bound[0]), to_text(*bound[1]), count, budget);
}

Value round(const Value& input, const Args& args, Budget&) {
  const auto bound = args.bind("round", {"precision", "method"});
  const std::string method = bound[1] ? to_text(*bound[1]) : "common";
  const auto number = input.as_number();
  require_defined(input);
  if (!number)
    throw TemplateError(fmt::format("type {} doesn't define __round__ method", type_name(input)));
  const std::int64_t precision = integer_or(bound[0], 0);
  if (precision < 0 || precision > 300) throw TemplateError("round: want a precision of 0 to 300");
  if (method == "common" && input.as_integer()) return Value(*input.as_integer());
  if (method == "common") {  // exact decimal digits, ties to even, as Python
    return Value(std::stod(fmt::format("{:.{}f}", *number, static_cast<int>(precision))));
  }
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(*number * scale) / scale);
  if (method == "floor") return Value(std::floor(*number * scale) / scale);
  throw TemplateError("method must be common, ceil or floor");
}

Value safe(const Value& input, const Args& args, Budget&) {
  args.bind("safe", {});
  return Value::markup(to_text(input));
}

Value string(const Value& input, const Args& args, Budget& budget) {
  args.bind("string", {});
  if (input.as_text()) return input;
  return text_result(to_text(input), budget);
}

Value title(const Value& input, const Args& args, Budget& budget) {
  args.bind("title", {});
  return text_result(title_words(to_text(input)), budget);
}

std::optional<std::string> json_indent(const Value& value) {
  if (value.is_none()) return std::nullopt;
  if (const std::string* text = value.as_text()) return *text;
  const std::int64_t width = std::max<std::int64_t>(integer_or(value, 0), 0);
  if (width > 1000)
    throw TemplateError(fmt::format("tojson: got indent={}, want at most 1000", width));
  return std::string(static_cast<std::size_t>(width), ' ');
}

Value tojson(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = flag_or(bound[0], false);
  style.sort_keys = flag_or(bound[3], false);
  if (bound[1]) style.indent = json_indent(*bound[1]);
  if (style.indent) style.item_separator.assign(1, ',');
  if (bound[2] && !bound[2]->is_none()) {
    const Items pair = iterate(*bound[2], budget);
    if (pair.size() != 2 || !pair[0].as_text() || !pair[1].as_text()) {
      throw TemplateError("tojson: separators= wants two texts");
    }
    style.item_separator = *pair[0].as_text();
    style.key_separator = *pair[1].as_text();
  }
  return text_result(to_json(input, style), budget);
}

Value trim(const Value& input, const Args& args, Budget&) {
  const auto bound = args.bind("trim", {"chars"});
  const std::string text = to_text(input);
  const std::string* characters = bound[0] ? bound[0]->as_text() : nullptr;
  std::string stripped(strip(text, characters));
  return input.is_markup() ? Value::markup(std::move(stripped)) : Value(std::move(stripped));
}

constexpr std::pair<std::string_view, FilterFunction> kFilters[] = {
    {"abs", absolute},
    {"attr", attr},
    {"capitalize", capitalize_filter},
    {"count", length_filter},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dictsort},
    {"e", escape_filter},
    {"escape", escape_filter},
    {"first", first},
    {"float", float_filter},
    {"indent", indent},
    {"int", int_filter},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length_filter},
    {"list", list},
    {"lower", lower},
    {"map", map},
    {"max", max_filter},
    {"min", min_filter},
    {"reject", reject},
    {"rejectattr", rejectattr},
    {"replace", replace_filter},
    {"reverse", reverse},
    {"round", round},
    {"safe", safe},
    {"select", select},
    {"selectattr", selectattr},
    {"sort", sort},
    {"string", string},
    {"sum", sum},
    {"title", title},
    {"tojson", tojson},
    {"trim", trim},
    {"unique", unique},
    {"upper", upper},
};

}  // namespace

FilterFunction find_filter(std::string_view name) {
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace limbic::data::jinja
