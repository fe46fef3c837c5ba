// A template's source as tokens, with Jinja's white space handling under trim_blocks and
// lstrip_blocks: a block or comment alone on its line leaves nothing of the line, `-` strips all
// white space at its side, `+` switches the stripping off.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/template/jinja/value.h"

namespace limbic::data::jinja {

enum class TokenKind {
  kData,           // text between the tags
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kName,
  kString,
  kNumber,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  // unescaped for a string
  Value number;
};

// An error while reading a template; `line` counts from 1.
struct SyntaxError {
  int line;
  std::string message;
};

// The last token is kEnd. Throws SyntaxError.
std::vector<Token> tokenize(std::string_view source);

// A token as messages show it.
std::string describe(const Token& token);

}  // namespace limbic::data::jinja
