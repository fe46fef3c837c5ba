// Python's operators on values. Every function throws TemplateError with Python's (or Jinja's)
// words when the types do not fit, and when an undefined value is used where it must not be.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/template/jinja/value.h"

namespace limbic::data::jinja {

// "str", "int", "dict", ... ("Undefined" for an undefined value).
std::string type_name(const Value& value);
// Throws the reason of an undefined value; does nothing for others.
void require_defined(const Value& value);

bool truthy(const Value& value);
bool equals(const Value& left, const Value& right, Budget& budget);
// left < right; `symbol` is the operator in messages.
bool less(const Value& left, const Value& right, std::string_view symbol, Budget& budget);
// item in container
bool contains(const Value& container, const Value& item, Budget& budget);

// Requires: op is one of `+ - * / // % **`.
Value arithmetic(std::string_view op, const Value& left, const Value& right, Budget& budget);
Value negate(const Value& value);
Value positive(const Value& value);

// What a for statement walks over: items, keys of a dict, characters, nothing for undefined.
std::vector<Value> iterate(const Value& value, Budget& budget);
bool is_iterable(const Value& value);
// len(): throws for values without a length.
std::size_t length(const Value& value);

// value[key]; undefined when it is not there.
Value item(const Value& value, const Value& key);
// value[start:stop:step]; none where a bound is left out.
Value slice(const Value& value, const Value& start, const Value& stop, const Value& step,
            Budget& budget);
// text.replace(from, to, count) within the limits; count < 0: all.
Value replaced_text(const std::string& text, const std::string& from, const std::string& to,
                    std::int64_t count, Budget& budget);
// The steps that looking through the whole value costs.
std::uint64_t weight(const Value& value);

}  // namespace limbic::data::jinja
