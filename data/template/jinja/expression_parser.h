// Expressions of the template language. One instance walks the tokens of a whole template; the
// statement parser moves it on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/template/jinja/ast.h"
#include "data/template/jinja/lexer.h"

namespace limbic::data::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // Everything throws SyntaxError.
  const Token& current() const { return tokens_[position_]; }
  const Token& following() const;
  Token take();
  bool is_name(std::string_view name) const;
  bool is_operator(std::string_view op) const;
  bool take_name(std::string_view name);
  bool take_operator(std::string_view op);
  std::string expect_any_name();
  void expect_name(std::string_view name);
  void expect_operator(std::string_view op);
  void expect(TokenKind kind, std::string_view spelling);
  [[noreturn]] void fail(const std::string& message) const;

  // `a if b else c` and everything below.
  ExprPtr expression();
  // Also `a, b`, a tuple. Without conditions `if` ends the expression (`for x in y if z`).
  ExprPtr expression_or_tuple(bool with_conditions = true, bool may_be_empty = false);
  // `| name(...)` repeatedly behind a set block's target; null when there is none.
  ExprPtr block_filters();
  Target target(bool with_attributes);

  // Nesting of blocks and brackets together.
  int& depth() { return depth_; }

 private:
  template <class Node>
  ExprPtr make(int line, Node node);

  ExprPtr any_expression(bool with_conditions);
  ExprPtr conditional();
  ExprPtr disjunction();
  ExprPtr conjunction();
  ExprPtr negation();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filters);
  ExprPtr primary();
  ExprPtr list();
  ExprPtr dict();
  ExprPtr postfix(ExprPtr expr);
  ExprPtr filters_and_tests(ExprPtr expr);
  ExprPtr subscript(ExprPtr object, int line);
  ExprPtr call(ExprPtr callee);
  ExprPtr filter(ExprPtr input);
  ExprPtr test(ExprPtr input);
  bool test_argument_follows() const;
  Arguments arguments();
  Target single_target(bool with_attributes);
  bool tuple_ends() const;

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace limbic::data::jinja
