// Values as text: Python's str, repr and json.dumps.
#pragma once

#include <optional>
#include <string>

#include "data/template/jinja/value.h"

namespace limbic::data::jinja {

// str(): what `{{ value }}` prints; empty for an undefined value.
// Throws TemplateError for values whose print would be an address (functions, iterators), when the
// nesting is deeper than 200 and when the text is longer than 64 MB.
std::string to_text(const Value& value);
std::string repr(const Value& value);
// repr of a float: the shortest digits that read back the same.
std::string float_text(double value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // one level; absent: one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// json.dumps. Throws TemplateError for what JSON cannot hold.
std::string to_json(const Value& value, const JsonStyle& style);

}  // namespace limbic::data::jinja
