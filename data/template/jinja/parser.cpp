#include "data/template/jinja/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "data/template/jinja/expression_parser.h"

namespace limbic::data::jinja {
namespace {

class TemplateParser {
 public:
  explicit TemplateParser(std::string_view source) : tokens_(tokenize(source)) {}

  ParsedTemplate run() {
    ParsedTemplate result;
    result.body = block({}, 1);
    result.has_generation = has_generation_;
    return result;
  }

 private:
  using Words = std::initializer_list<std::string_view>;

  // Statements up to `{% word`, one of `ends`, whose word is taken; to the end when there are none.
  // `line` is that of the statement they belong to.
  Block block(Words ends, int line) {
    if (tokens_.depth() >= kMaxDepth) tokens_.fail(DepthGuard::message());
    const DepthGuard guard(tokens_.depth());
    Block statements;
    while (tokens_.current().kind != TokenKind::kEnd) {
      const Token token = tokens_.take();
      if (token.kind == TokenKind::kData) {
        statements.push_back({token.line, TextStatement{token.text}});
      } else if (token.kind == TokenKind::kVariableBegin) {
        statements.push_back({token.line, OutputStatement{tokens_.expression_or_tuple()}});
        tokens_.expect(TokenKind::kVariableEnd, "}}");
      } else {
        const auto is_end = [&](std::string_view word) { return tokens_.is_name(word); };
        if (std::any_of(ends.begin(), ends.end(), is_end)) {
          last_end_ = tokens_.take().text;
          return statements;
        }
        statement(statements);
      }
    }
    if (ends.size() > 0) {
      throw SyntaxError{line,
                        fmt::format("the block that starts here has no `{}`", *(ends.end() - 1))};
    }
    return statements;
  }

  void close_tag() { tokens_.expect(TokenKind::kBlockEnd, "%}"); }

  // Behind `{%`.
  void statement(Block& out) {
    const int line = tokens_.current().line;
    const std::string word = tokens_.expect_any_name();
    if (word == "if") return out.push_back({line, if_statement(line)});
    if (word == "for") return out.push_back({line, for_statement(line)});
    if (word == "set") return set_statement(line, out);
    if (word == "macro") return out.push_back({line, macro_statement(line)});
    if (word == "generation") return out.push_back({line, generation_statement(line)});
    if (word == "break" || word == "continue") {
      if (loops_ == 0) throw SyntaxError{line, fmt::format("`{}` stands outside a loop", word)};
      close_tag();
      if (word == "break") return out.push_back({line, BreakStatement{}});
      return out.push_back({line, ContinueStatement{}});
    }
    throw SyntaxError{line, fmt::format("statement '{}' is not known here", word)};
  }

  IfStatement if_statement(int line) {
    IfStatement result;
    do {
      ExprPtr condition = tokens_.expression_or_tuple(false);
      close_tag();
      result.branches.emplace_back(std::move(condition), block({"elif", "else", "endif"}, line));
    } while (last_end_ == "elif");
    if (last_end_ == "else") {
      close_tag();
      result.otherwise = block({"endif"}, line);
    }
    close_tag();
    return result;
  }

  ForStatement for_statement(int line) {
    ForStatement result;
    result.target = tokens_.target(false);
    tokens_.expect_name("in");
    result.iterable = tokens_.expression_or_tuple(false);
    if (tokens_.take_name("if")) result.condition = tokens_.expression();
    if (tokens_.is_name("recursive")) tokens_.fail("recursive loops are not supported");
    close_tag();
    ++loops_;
    result.body = block({"else", "endfor"}, line);
    --loops_;
    if (last_end_ == "else") {
      close_tag();
      result.otherwise = block({"endfor"}, line);
    }
    close_tag();
    return result;
  }

  void set_statement(int line, Block& out) {
    Target target = tokens_.target(true);
    if (tokens_.take_operator("=")) {
      SetStatement result{std::move(target), tokens_.expression_or_tuple()};
      close_tag();
      return out.push_back({line, std::move(result)});
    }
    SetBlockStatement result{std::move(target), tokens_.block_filters(), {}};
    close_tag();
    result.body = block({"endset"}, line);
    close_tag();
    out.push_back({line, std::move(result)});
  }

  // A body that runs as a function: `break` cannot leave it.
  Block function_body(std::string_view end, int line) {
    const int outer = std::exchange(loops_, 0);
    Block body = block({end}, line);
    loops_ = outer;
    close_tag();
    return body;
  }

  MacroStatement macro_statement(int line) {
    MacroStatement result;
    result.name = tokens_.expect_any_name();
    tokens_.expect_operator("(");
    while (!tokens_.is_operator(")")) {
      Parameter parameter{tokens_.expect_any_name(), nullptr};
      if (tokens_.take_operator("=")) {
        parameter.otherwise = tokens_.expression();
      } else if (!result.parameters.empty() && result.parameters.back().otherwise) {
        tokens_.fail("a parameter without default stands behind one with a default");
      }
      result.parameters.push_back(std::move(parameter));
      if (!tokens_.take_operator(",")) break;
    }
    tokens_.expect_operator(")");
    close_tag();
    result.body = function_body("endmacro", line);
    return result;
  }

  GenerationStatement generation_statement(int line) {
    has_generation_ = true;
    close_tag();
    return {function_body("endgeneration", line)};
  }

  ExpressionParser tokens_;
  std::string last_end_;  // the word that ended the last block
  int loops_ = 0;
  bool has_generation_ = false;
};

}  // namespace

ParsedTemplate parse_template(std::string_view source) { return TemplateParser(source).run(); }

}  // namespace limbic::data::jinja
