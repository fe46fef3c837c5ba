// Runs a parsed template.
//
// Scopes are Jinja's: the body of a for statement, a macro, a set block and a generation block have
// their own; an if statement has none. A for body starts every round with an empty scope, so only a
// namespace carries values from round to round.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/template/jinja/parser.h"

namespace limbic::data::jinja {

struct Output {
  std::string text;
  // Bytes [first, second) written by generation blocks.
  std::vector<std::pair<std::size_t, std::size_t>> generation_spans;
  // No generation block stands in a macro or a set block, whose text may be put anywhere.
  bool spans_complete = true;
};

// An error while rendering; `line` counts from 1.
struct RenderError {
  int line;
  std::string message;
};

// `variables` stand beside the built-in functions range, namespace, dict, raise_exception and
// strftime_now, and hide them. Throws RenderError.
Output evaluate(const ParsedTemplate& parsed, const Variables& variables);

}  // namespace limbic::data::jinja
