// Filters, tests and methods by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "data/template/jinja/value.h"

namespace limbic::data::jinja {

using FilterFunction = Value (*)(const Value& input, const Args& args, Budget& budget);
using TestFunction = bool (*)(const Value& input, const Args& args, Budget& budget);

// Null when there is no filter (test) of this name.
FilterFunction find_filter(std::string_view name);
TestFunction find_test(std::string_view name);

// Python has a method of this name for such a value (so `value.name` is not an item), whether a
// template may call it or not.
bool has_method(const Value& value, std::string_view name);
// Requires: has_method. Throws TemplateError for a method that would change the value, and for one
// that is not supported.
Value call_method(const Value& value, std::string_view name, const Args& args, Budget& budget);

}  // namespace limbic::data::jinja
