// Jinja's grammar, as far as chat templates use it. Not known here, and therefore errors: include,
// import, extends, block, call, filter and with statements, recursive loops, `*args`.
// Source: Jinja 3.1 language reference.
#pragma once

#include <string_view>

#include "data/template/jinja/ast.h"

namespace limbic::data::jinja {

struct ParsedTemplate {
  Block body;
  bool has_generation = false;
};

// Throws SyntaxError (lexer.h).
ParsedTemplate parse_template(std::string_view source);

}  // namespace limbic::data::jinja
