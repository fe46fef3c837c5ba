// Jinja's built-in tests (`x is defined`).
#include <fmt/format.h>

#include "data/template/jinja/library/registry.h"
#include "data/template/jinja/operations.h"
#include "data/template/jinja/printing.h"
#include "data/template/jinja/text.h"

namespace limbic::data::jinja {
namespace {

const Value& only_argument(const Args& args) {
  if (args.positional.size() != 1 || !args.named.empty()) {
    throw TemplateError("this test wants one argument");
  }
  return args.positional[0];
}

bool is_defined(const Value& v, const Args&, Budget&) { return !v.is_undefined(); }
bool is_undefined(const Value& v, const Args&, Budget&) { return v.is_undefined(); }
bool is_none(const Value& v, const Args&, Budget&) { return v.is_none(); }
bool is_true(const Value& v, const Args&, Budget&) { return v.as_bool() && *v.as_bool(); }
bool is_false(const Value& v, const Args&, Budget&) { return v.as_bool() && !*v.as_bool(); }
bool is_boolean(const Value& v, const Args&, Budget&) { return v.as_bool() != nullptr; }
bool is_integer(const Value& v, const Args&, Budget&) {
  return std::holds_alternative<std::int64_t>(v.data());
}
bool is_float(const Value& v, const Args&, Budget&) {
  return std::holds_alternative<double>(v.data());
}
bool is_number(const Value& v, const Args&, Budget&) { return v.as_number().has_value(); }
bool is_string(const Value& v, const Args&, Budget&) { return v.as_text() != nullptr; }
bool is_mapping(const Value& v, const Args&, Budget&) { return v.as_dict() != nullptr; }
bool is_iterable_test(const Value& v, const Args&, Budget&) { return is_iterable(v); }
bool is_callable(const Value& v, const Args&, Budget&) { return v.as_function() != nullptr; }
bool is_escaped(const Value& v, const Args&, Budget&) { return v.is_markup(); }

bool is_sequence(const Value& v, const Args&, Budget&) {
  const Sequence* sequence = v.as_sequence();
  if (!sequence) return v.is_undefined() || v.as_text() || v.as_dict();
  return sequence->kind == Sequence::Kind::kList || sequence->kind == Sequence::Kind::kTuple ||
         sequence->kind == Sequence::Kind::kRange;
}

bool is_lower_test(const Value& v, const Args&, Budget&) { return is_lower(to_text(v)); }
bool is_upper_test(const Value& v, const Args&, Budget&) { return is_upper(to_text(v)); }

std::int64_t integer_of(const Value& v) {
  if (const auto integer = v.as_integer()) return *integer;
  require_defined(v);
  throw TemplateError(fmt::format("got {}, want an integer", repr(v)));
}

bool is_odd(const Value& v, const Args&, Budget& budget) {
  return equals(arithmetic("%", v, Value(std::int64_t{2}), budget), Value(true), budget);
}
bool is_even(const Value& v, const Args&, Budget& budget) {
  return equals(arithmetic("%", v, Value(std::int64_t{2}), budget), Value(false), budget);
}

bool is_divisible(const Value& v, const Args& args, Budget&) {
  const std::int64_t divisor = integer_of(only_argument(args));
  if (divisor == 0) throw TemplateError("integer modulo by zero");
  return divisor == -1 || integer_of(v) % divisor == 0;
}

bool is_same(const Value& v, const Args& args, Budget& budget) {
  const Value& other = only_argument(args);
  if (v.as_sequence() || other.as_sequence()) return v.as_sequence() == other.as_sequence();
  if (v.as_dict() || other.as_dict()) return v.as_dict() == other.as_dict();
  return v.data().index() == other.data().index() && equals(v, other, budget);
}

bool is_in(const Value& v, const Args& args, Budget& budget) {
  return contains(only_argument(args), v, budget);
}
bool is_equal(const Value& v, const Args& args, Budget& budget) {
  return equals(v, only_argument(args), budget);
}
bool is_not_equal(const Value& v, const Args& args, Budget& budget) {
  return !equals(v, only_argument(args), budget);
}
bool is_less(const Value& v, const Args& args, Budget& budget) {
  return less(v, only_argument(args), "<", budget);
}
bool is_greater(const Value& v, const Args& args, Budget& budget) {
  return less(only_argument(args), v, ">", budget);
}
bool is_at_most(const Value& v, const Args& args, Budget& budget) {
  return less(v, only_argument(args), "<=", budget) || equals(v, only_argument(args), budget);
}
bool is_at_least(const Value& v, const Args& args, Budget& budget) {
  return less(only_argument(args), v, ">=", budget) || equals(v, only_argument(args), budget);
}

bool names_filter(const Value& v, const Args&, Budget&) {
  return v.as_text() && find_filter(*v.as_text());
}
bool names_test(const Value& v, const Args&, Budget&) {
  return v.as_text() && find_test(*v.as_text());
}

constexpr std::pair<std::string_view, TestFunction> kTests[] = {
    {"defined", is_defined},   {"undefined", is_undefined},
    {"none", is_none},         {"true", is_true},
    {"false", is_false},       {"boolean", is_boolean},
    {"integer", is_integer},   {"float", is_float},
    {"number", is_number},     {"string", is_string},
    {"mapping", is_mapping},   {"iterable", is_iterable_test},
    {"sequence", is_sequence}, {"callable", is_callable},
    {"escaped", is_escaped},   {"lower", is_lower_test},
    {"upper", is_upper_test},  {"odd", is_odd},
    {"even", is_even},         {"divisibleby", is_divisible},
    {"sameas", is_same},       {"in", is_in},
    {"eq", is_equal},          {"equalto", is_equal},
    {"==", is_equal},          {"ne", is_not_equal},
    {"!=", is_not_equal},      {"lt", is_less},
    {"lessthan", is_less},     {"<", is_less},
    {"le", is_at_most},        {"<=", is_at_most},
    {"gt", is_greater},        {"greaterthan", is_greater},
    {">", is_greater},         {"ge", is_at_least},
    {">=", is_at_least},       {"filter", names_filter},
    {"test", names_test},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  for (const auto& [known, test] : kTests) {
    if (known == name) return test;
  }
  return nullptr;
}

}  // namespace limbic::data::jinja
