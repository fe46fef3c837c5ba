// Evaluates expressions: the values of names, and what operators, filters, tests and calls make of
// them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/template/jinja/ast.h"
#include "data/template/jinja/library/functions.h"
#include "data/template/jinja/value.h"

namespace limbic::data::jinja {

// Names and their values; those of the parent are seen through.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;

  void set(const std::string& name, Value value);
};

class ExpressionEvaluator {
 public:
  // Requires: the variables outlive it.
  explicit ExpressionEvaluator(const Variables& variables) : variables_(variables) {}
  ~ExpressionEvaluator();
  ExpressionEvaluator(const ExpressionEvaluator&) = delete;
  ExpressionEvaluator& operator=(const ExpressionEvaluator&) = delete;

  // All throw TemplateError; `line()` then says where.
  Value evaluate(const Expr& expr);
  // A chain of filters over `body`, which stands for its missing innermost input.
  Value filtered(const Expr& expr, Value body);
  // A variable of the scopes, a given one, or a function; undefined when there is none.
  Value look_up(const std::string& name);

  const std::shared_ptr<Scope>& scope() const { return scope_; }
  Budget& budget() { return budget_; }
  int line() const { return line_; }
  // What is evaluated next stands here.
  void at_line(int line) { line_ = line; }

 private:
  friend class ScopeGuard;

  void at(const Expr& expr) { line_ = expr.line; }
  Value value_of(const Expr& expr, const ConstantExpr& node);
  Value value_of(const Expr& expr, const NameExpr& node);
  Value value_of(const Expr& expr, const ListExpr& node);
  Value value_of(const Expr& expr, const DictExpr& node);
  Value value_of(const Expr& expr, const AttributeExpr& node);
  Value value_of(const Expr& expr, const ItemExpr& node);
  Value value_of(const Expr& expr, const SliceExpr& node);
  Value value_of(const Expr& expr, const CallExpr& node);
  Value value_of(const Expr& expr, const FilterExpr& node);
  Value value_of(const Expr& expr, const TestExpr& node);
  Value value_of(const Expr& expr, const NotExpr& node);
  Value value_of(const Expr& expr, const SignExpr& node);
  Value value_of(const Expr& expr, const ArithmeticExpr& node);
  Value value_of(const Expr& expr, const LogicExpr& node);
  Value value_of(const Expr& expr, const CompareExpr& node);
  Value value_of(const Expr& expr, const ConcatExpr& node);
  Value value_of(const Expr& expr, const ConditionalExpr& node);

  Value attribute(const Value& object, const std::string& name);
  Value method_of(const Value& object, const std::string& name);
  Args evaluate_arguments(const Arguments& arguments);
  Value call(const Expr& expr, const Value& callee, const Arguments& arguments);
  Value apply(const Expr& expr, const FilterExpr& node, const Value& input);
  bool compare(Comparison comparison, const Value& left, const Value& right);

  const Variables& variables_;
  Budget budget_;
  Namespaces namespaces_;
  std::shared_ptr<Scope> scope_ = std::make_shared<Scope>();
  int frames_ = 0;
  int line_ = 1;
};

// A scope of its own for as long as it lives.
class ScopeGuard {
 public:
  ScopeGuard(ExpressionEvaluator& evaluator, std::shared_ptr<Scope> parent);
  explicit ScopeGuard(ExpressionEvaluator& evaluator) : ScopeGuard(evaluator, evaluator.scope_) {}
  ~ScopeGuard() { evaluator_.scope_ = std::move(outer_); }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;

 private:
  ExpressionEvaluator& evaluator_;
  std::shared_ptr<Scope> outer_;
};

}  // namespace limbic::data::jinja
