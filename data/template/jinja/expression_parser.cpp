#include "data/template/jinja/expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace limbic::data::jinja {
namespace {

int height_of(const ExprPtr& expr) { return expr ? expr->height : 0; }

template <class Items>
int highest(const Items& items) {
  int height = 0;
  for (const ExprPtr& item : items) height = std::max(height, height_of(item));
  return height;
}

int height_of(const Arguments& arguments) {
  int height = highest(arguments.positional);
  for (const auto& argument : arguments.named)
    height = std::max(height, height_of(argument.second));
  return height;
}

struct ChildHeight {
  int operator()(const ConstantExpr&) const { return 0; }
  int operator()(const NameExpr&) const { return 0; }
  int operator()(const ListExpr& e) const { return highest(e.items); }
  int operator()(const DictExpr& e) const {
    int height = 0;
    for (const auto& [key, value] : e.entries) {
      height = std::max({height, height_of(key), height_of(value)});
    }
    return height;
  }
  int operator()(const AttributeExpr& e) const { return height_of(e.object); }
  int operator()(const ItemExpr& e) const {
    return std::max(height_of(e.object), height_of(e.index));
  }
  int operator()(const SliceExpr& e) const {
    return std::max(
        {height_of(e.object), height_of(e.start), height_of(e.stop), height_of(e.step)});
  }
  int operator()(const CallExpr& e) const {
    return std::max(height_of(e.callee), height_of(e.arguments));
  }
  int operator()(const FilterExpr& e) const {
    return std::max(height_of(e.input), height_of(e.arguments));
  }
  int operator()(const TestExpr& e) const {
    return std::max(height_of(e.input), height_of(e.arguments));
  }
  int operator()(const NotExpr& e) const { return height_of(e.operand); }
  int operator()(const SignExpr& e) const { return height_of(e.operand); }
  int operator()(const ArithmeticExpr& e) const {
    return std::max(height_of(e.left), height_of(e.right));
  }
  int operator()(const LogicExpr& e) const {
    return std::max(height_of(e.left), height_of(e.right));
  }
  int operator()(const CompareExpr& e) const {
    int height = height_of(e.first);
    for (const auto& operand : e.rest) height = std::max(height, height_of(operand.second));
    return height;
  }
  int operator()(const ConcatExpr& e) const { return highest(e.items); }
  int operator()(const ConditionalExpr& e) const {
    return std::max({height_of(e.condition), height_of(e.chosen), height_of(e.otherwise)});
  }
};

}  // namespace

template <class Node>
ExprPtr ExpressionParser::make(int line, Node node) {
  auto expr = std::make_unique<Expr>();
  expr->line = line;
  expr->height = ChildHeight{}(node) + 1;
  if (expr->height > kMaxDepth) throw SyntaxError{line, DepthGuard::message()};
  expr->node = std::move(node);
  return expr;
}

const Token& ExpressionParser::following() const {
  return tokens_[std::min(position_ + 1, tokens_.size() - 1)];
}

Token ExpressionParser::take() {
  const Token& token = tokens_[position_];
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool ExpressionParser::is_name(std::string_view name) const {
  return current().kind == TokenKind::kName && current().text == name;
}

bool ExpressionParser::is_operator(std::string_view op) const {
  return current().kind == TokenKind::kOperator && current().text == op;
}

bool ExpressionParser::take_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}

bool ExpressionParser::take_operator(std::string_view op) {
  if (!is_operator(op)) return false;
  take();
  return true;
}

std::string ExpressionParser::expect_any_name() {
  if (current().kind != TokenKind::kName)
    fail(fmt::format("got {}, want a name", describe(current())));
  return take().text;
}

void ExpressionParser::expect_name(std::string_view name) {
  if (!take_name(name)) fail(fmt::format("got {}, want `{}`", describe(current()), name));
}

void ExpressionParser::expect_operator(std::string_view op) {
  if (!take_operator(op)) fail(fmt::format("got {}, want `{}`", describe(current()), op));
}

void ExpressionParser::expect(TokenKind kind, std::string_view spelling) {
  if (current().kind != kind) {
    fail(fmt::format("got {}, want `{}`", describe(current()), spelling));
  }
  take();
}

void ExpressionParser::fail(const std::string& message) const {
  throw SyntaxError{current().line, message};
}

ExprPtr ExpressionParser::expression() { return any_expression(true); }

ExprPtr ExpressionParser::any_expression(bool with_conditions) {
  if (depth_ >= kMaxDepth) fail(DepthGuard::message());
  const DepthGuard guard(depth_);
  return with_conditions ? conditional() : disjunction();
}

bool ExpressionParser::tuple_ends() const {
  const Token& token = current();
  return token.kind == TokenKind::kVariableEnd || token.kind == TokenKind::kBlockEnd ||
         is_operator(")") || is_name("in") || is_name("recursive");
}

ExprPtr ExpressionParser::expression_or_tuple(bool with_conditions, bool may_be_empty) {
  const int line = current().line;
  ListExpr tuple{.items = {}, .is_tuple = true};
  bool has_comma = false;
  while (!tuple_ends()) {
    tuple.items.push_back(any_expression(with_conditions));
    if (!take_operator(",")) break;
    has_comma = true;
  }
  if (!has_comma && !tuple.items.empty()) return std::move(tuple.items.front());
  if (tuple.items.empty() && !may_be_empty) {
    fail(fmt::format("got {}, want an expression", describe(current())));
  }
  return make(line, std::move(tuple));
}

ExprPtr ExpressionParser::conditional() {
  const int line = current().line;
  ExprPtr chosen = disjunction();
  while (take_name("if")) {
    ExprPtr condition = disjunction();
    ExprPtr otherwise = take_name("else") ? any_expression(true) : nullptr;
    chosen =
        make(line, ConditionalExpr{std::move(condition), std::move(chosen), std::move(otherwise)});
  }
  return chosen;
}

ExprPtr ExpressionParser::disjunction() {
  const int line = current().line;
  ExprPtr left = conjunction();
  while (take_name("or")) left = make(line, LogicExpr{false, std::move(left), conjunction()});
  return left;
}

ExprPtr ExpressionParser::conjunction() {
  const int line = current().line;
  ExprPtr left = negation();
  while (take_name("and")) left = make(line, LogicExpr{true, std::move(left), negation()});
  return left;
}

ExprPtr ExpressionParser::negation() {
  const int line = current().line;
  if (!is_name("not")) return comparison();
  if (depth_ >= kMaxDepth) fail(DepthGuard::message());
  const DepthGuard guard(depth_);
  take();
  return make(line, NotExpr{negation()});
}

ExprPtr ExpressionParser::comparison() {
  static constexpr std::pair<std::string_view, Comparison> kOperators[] = {
      {"==", Comparison::kEqual},  {"!=", Comparison::kNotEqual},
      {"<", Comparison::kLess},    {"<=", Comparison::kLessEqual},
      {">", Comparison::kGreater}, {">=", Comparison::kGreaterEqual}};
  const int line = current().line;
  CompareExpr compare{sum(), {}};
  while (true) {
    std::optional<Comparison> found;
    for (const auto& [spelling, comparison] : kOperators) {
      if (is_operator(spelling)) found = comparison;
    }
    if (is_name("in")) found = Comparison::kIn;
    if (is_name("not") && following().kind == TokenKind::kName && following().text == "in") {
      take();
      found = Comparison::kNotIn;
    }
    if (!found) break;
    take();
    compare.rest.emplace_back(*found, sum());
  }
  if (compare.rest.empty()) return std::move(compare.first);
  return make(line, std::move(compare));
}

ExprPtr ExpressionParser::sum() {
  ExprPtr left = concatenation();
  while (is_operator("+") || is_operator("-")) {
    const Token op = take();
    left = make(op.line, ArithmeticExpr{op.text, std::move(left), concatenation()});
  }
  return left;
}

ExprPtr ExpressionParser::concatenation() {
  const int line = current().line;
  ConcatExpr concat;
  concat.items.push_back(product());
  while (take_operator("~")) concat.items.push_back(product());
  if (concat.items.size() == 1) return std::move(concat.items.front());
  return make(line, std::move(concat));
}

ExprPtr ExpressionParser::product() {
  ExprPtr left = power();
  while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
    const Token op = take();
    left = make(op.line, ArithmeticExpr{op.text, std::move(left), power()});
  }
  return left;
}

ExprPtr ExpressionParser::power() {
  ExprPtr left = unary(true);
  while (is_operator("**")) {
    const Token op = take();
    left = make(op.line, ArithmeticExpr{op.text, std::move(left), unary(true)});
  }
  return left;
}

ExprPtr ExpressionParser::unary(bool with_filters) {
  const int line = current().line;
  ExprPtr expr;
  if (is_operator("-") || is_operator("+")) {
    if (depth_ >= kMaxDepth) fail(DepthGuard::message());
    const DepthGuard guard(depth_);
    const bool minus = take().text == "-";
    expr = make(line, SignExpr{minus, unary(false)});
  } else {
    expr = primary();
  }
  expr = postfix(std::move(expr));
  return with_filters ? filters_and_tests(std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::primary() {
  const Token token = current();
  switch (token.kind) {
    case TokenKind::kName: {
      take();
      if (token.text == "true" || token.text == "True") return make(token.line, ConstantExpr{true});
      if (token.text == "false" || token.text == "False")
        return make(token.line, ConstantExpr{false});
      if (token.text == "none" || token.text == "None") return make(token.line, ConstantExpr{});
      return make(token.line, NameExpr{token.text});
    }
    case TokenKind::kNumber:
      take();
      return make(token.line, ConstantExpr{token.number});
    case TokenKind::kString: {
      std::string text;  // strings side by side are one
      while (current().kind == TokenKind::kString) text += take().text;
      return make(token.line, ConstantExpr{Value(std::move(text))});
    }
    default:
      break;
  }
  if (is_operator("[")) return list();
  if (is_operator("{")) return dict();
  if (!take_operator("(")) fail(fmt::format("got {}, want an expression", describe(token)));
  ExprPtr inner = expression_or_tuple(true, true);
  expect_operator(")");
  return inner;
}

ExprPtr ExpressionParser::list() {
  const int line = take().line;
  ListExpr list;
  while (!is_operator("]")) {
    list.items.push_back(expression());
    if (!take_operator(",")) break;
  }
  expect_operator("]");
  return make(line, std::move(list));
}

ExprPtr ExpressionParser::dict() {
  const int line = take().line;
  DictExpr dict;
  while (!is_operator("}")) {
    ExprPtr key = expression();
    expect_operator(":");
    dict.entries.emplace_back(std::move(key), expression());
    if (!take_operator(",")) break;
  }
  expect_operator("}");
  return make(line, std::move(dict));
}

ExprPtr ExpressionParser::postfix(ExprPtr expr) {
  while (true) {
    if (is_operator("(")) {
      expr = call(std::move(expr));
    } else if (is_operator("[")) {
      const int line = take().line;
      expr = subscript(std::move(expr), line);
    } else if (is_operator(".")) {
      const int line = take().line;
      if (current().kind == TokenKind::kNumber && current().number.as_integer()) {
        ExprPtr index = make(line, ConstantExpr{take().number});
        expr = make(line, ItemExpr{std::move(expr), std::move(index)});
      } else {
        expr = make(line, AttributeExpr{std::move(expr), expect_any_name()});
      }
    } else {
      return expr;
    }
  }
}

ExprPtr ExpressionParser::filters_and_tests(ExprPtr expr) {
  while (true) {
    if (is_operator("|")) {
      expr = filter(std::move(expr));
    } else if (is_name("is")) {
      expr = test(std::move(expr));
    } else if (is_operator("(")) {
      expr = call(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExpressionParser::subscript(ExprPtr object, int line) {
  ExprPtr bounds[3];
  if (!is_operator(":")) bounds[0] = expression();
  if (bounds[0] && take_operator("]")) {
    return make(line, ItemExpr{std::move(object), std::move(bounds[0])});
  }
  expect_operator(":");
  if (!is_operator(":") && !is_operator("]")) bounds[1] = expression();
  if (take_operator(":") && !is_operator("]")) bounds[2] = expression();
  expect_operator("]");
  return make(line, SliceExpr{std::move(object), std::move(bounds[0]), std::move(bounds[1]),
                              std::move(bounds[2])});
}

Arguments ExpressionParser::arguments() {
  Arguments result;
  expect_operator("(");
  while (!is_operator(")")) {
    if (is_operator("*") || is_operator("**")) {
      fail(fmt::format("`{}` in a call is not supported", current().text));
    }
    const bool named = current().kind == TokenKind::kName &&
                       following().kind == TokenKind::kOperator && following().text == "=";
    if (named) {
      std::string name = take().text;
      take();
      result.named.emplace_back(std::move(name), expression());
    } else {
      if (!result.named.empty()) fail("a positional argument stands behind a named one");
      result.positional.push_back(expression());
    }
    if (!take_operator(",")) break;
  }
  expect_operator(")");
  return result;
}

ExprPtr ExpressionParser::call(ExprPtr callee) {
  const int line = current().line;
  return make(line, CallExpr{std::move(callee), arguments()});
}

ExprPtr ExpressionParser::filter(ExprPtr input) {
  const int line = take().line;
  FilterExpr filter;
  filter.input = std::move(input);
  filter.name = expect_any_name();
  filter.filter = find_filter(filter.name);
  if (!filter.filter) throw SyntaxError{line, fmt::format("no filter named '{}'", filter.name)};
  if (is_operator("(")) filter.arguments = arguments();
  return make(line, std::move(filter));
}

bool ExpressionParser::test_argument_follows() const {
  switch (current().kind) {
    case TokenKind::kString:
    case TokenKind::kNumber:
      return true;
    case TokenKind::kName:
      return !is_name("else") && !is_name("or") && !is_name("and");
    default:
      return is_operator("[") || is_operator("{");
  }
}

ExprPtr ExpressionParser::test(ExprPtr input) {
  const int line = take().line;
  const bool negated = take_name("not");
  const std::string name = expect_any_name();
  TestExpr test{std::move(input), find_test(name), {}};
  if (!test.test) throw SyntaxError{line, fmt::format("no test named '{}'", name)};
  if (is_operator("(")) {
    test.arguments = arguments();
  } else if (test_argument_follows()) {
    if (is_name("is")) fail("tests cannot follow one another with `is`");
    test.arguments.positional.push_back(postfix(primary()));
  }
  ExprPtr result = make(line, std::move(test));
  return negated ? make(line, NotExpr{std::move(result)}) : std::move(result);
}

ExprPtr ExpressionParser::block_filters() {
  ExprPtr expr;
  while (is_operator("|")) expr = filter(std::move(expr));
  return expr;
}

Target ExpressionParser::single_target(bool with_attributes) {
  if (take_operator("(")) {
    if (depth_ >= kMaxDepth) fail(DepthGuard::message());
    const DepthGuard guard(depth_);
    Target inner = target(with_attributes);
    expect_operator(")");
    return inner;
  }
  Target result;
  result.line = current().line;
  result.name = expect_any_name();
  static constexpr std::string_view kReserved[] = {"true", "false", "none",
                                                   "True", "False", "None"};
  for (const std::string_view word : kReserved) {
    if (result.name == word) fail(fmt::format("cannot assign to `{}`", word));
  }
  if (with_attributes && take_operator(".")) {
    result.kind = Target::Kind::kAttribute;
    result.attribute = expect_any_name();
  }
  return result;
}

Target ExpressionParser::target(bool with_attributes) {
  Target tuple;
  tuple.kind = Target::Kind::kTuple;
  tuple.line = current().line;
  bool has_comma = false;
  do {
    if (has_comma && (tuple_ends() || is_operator("="))) break;
    tuple.items.push_back(single_target(with_attributes));
    if (is_operator(",")) has_comma = true;
  } while (take_operator(","));
  if (!has_comma) return std::move(tuple.items.front());
  return tuple;
}

}  // namespace limbic::data::jinja
