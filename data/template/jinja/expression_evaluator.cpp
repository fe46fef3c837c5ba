#include "data/template/jinja/expression_evaluator.h"

#include <fmt/format.h>

#include "data/template/jinja/operations.h"
#include "data/template/jinja/printing.h"

namespace limbic::data::jinja {

void Scope::set(const std::string& name, Value value) {
  for (auto& [known, held] : variables) {
    if (known == name) {
      held = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

ScopeGuard::ScopeGuard(ExpressionEvaluator& evaluator, std::shared_ptr<Scope> parent)
    : evaluator_(evaluator),
      outer_(
          std::exchange(evaluator.scope_, std::make_shared<Scope>(Scope{std::move(parent), {}}))) {}

// A namespace can hold itself.
ExpressionEvaluator::~ExpressionEvaluator() {
  for (const auto& space : namespaces_) space->attributes = {};
}

Value ExpressionEvaluator::look_up(const std::string& name) {
  for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return value;
    }
  }
  const auto given = variables_.find(name);
  return given != variables_.end() ? given->second : find_function(name, budget_, namespaces_);
}

Value ExpressionEvaluator::evaluate(const Expr& expr) {
  const DepthGuard guard(frames_, kMaxFrames);
  budget_.step();
  line_ = expr.line;
  return std::visit([&](const auto& node) { return value_of(expr, node); }, expr.node);
}

Value ExpressionEvaluator::value_of(const Expr&, const ConstantExpr& node) { return node.value; }

Value ExpressionEvaluator::value_of(const Expr&, const NameExpr& node) {
  return look_up(node.name);
}

Value ExpressionEvaluator::value_of(const Expr&, const ListExpr& node) {
  std::vector<Value> items;
  for (const ExprPtr& item : node.items) items.push_back(evaluate(*item));
  return node.is_tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

Value ExpressionEvaluator::value_of(const Expr&, const DictExpr& node) {
  Dict dict;
  for (const auto& [key, value] : node.entries) {
    const Value name = evaluate(*key);
    budget_.step(2 * weight(name));
    dict.set(name, evaluate(*value));
  }
  return Value::dict(std::move(dict));
}

Value ExpressionEvaluator::method_of(const Value& object, const std::string& name) {
  return make_function(name, [this, object, name](const Args& args) {
    budget_.step(weight(object));
    return call_method(object, name, args, budget_);
  });
}

Value ExpressionEvaluator::attribute(const Value& object, const std::string& name) {
  require_defined(object);
  if (name.starts_with("__")) {
    throw TemplateError(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(object)));
  }
  if (const LoopState* loop = object.as_loop(); loop && !has_method(object, name)) {
    return loop->attribute(name);
  }
  if (const Namespace* space = object.as_namespace()) {
    const Value* held = space->attributes.find_name(name);
    return held ? *held
                : Value::undefined(fmt::format("'Namespace object' has no attribute '{}'", name));
  }
  if (has_method(object, name)) return method_of(object, name);
  return item(object, Value(name));
}

Value ExpressionEvaluator::value_of(const Expr& expr, const AttributeExpr& node) {
  const Value object = evaluate(*node.object);
  at(expr);
  return attribute(object, node.name);
}

Value ExpressionEvaluator::value_of(const Expr& expr, const ItemExpr& node) {
  const Value object = evaluate(*node.object);
  const Value index = evaluate(*node.index);
  at(expr);
  budget_.step(weight(index) + (object.as_text() ? weight(object) : 0));
  Value found = item(object, index);
  if (!found.is_undefined() || !index.as_text()) return found;
  const std::string& name = *index.as_text();
  const bool by_name = object.as_namespace() || object.as_loop() || has_method(object, name);
  return by_name ? attribute(object, name) : found;
}

Value ExpressionEvaluator::value_of(const Expr& expr, const SliceExpr& node) {
  const Value object = evaluate(*node.object);
  const Value start = node.start ? evaluate(*node.start) : Value();
  const Value stop = node.stop ? evaluate(*node.stop) : Value();
  const Value step = node.step ? evaluate(*node.step) : Value();
  at(expr);
  return slice(object, start, stop, step, budget_);
}

Args ExpressionEvaluator::evaluate_arguments(const Arguments& arguments) {
  Args args;
  for (const ExprPtr& argument : arguments.positional) {
    args.positional.push_back(evaluate(*argument));
    budget_.step(weight(args.positional.back()));
  }
  for (const auto& [name, argument] : arguments.named) {
    args.named.emplace_back(name, evaluate(*argument));
    budget_.step(weight(args.named.back().second));
  }
  return args;
}

Value ExpressionEvaluator::value_of(const Expr& expr, const CallExpr& node) {
  if (const auto* method = std::get_if<AttributeExpr>(&node.callee->node)) {
    const Value object = evaluate(*method->object);
    at(expr);
    require_defined(object);
    if (has_method(object, method->name)) {
      const Args args = evaluate_arguments(node.arguments);
      at(expr);
      budget_.step(weight(object));
      return call_method(object, method->name, args, budget_);
    }
    return call(expr, attribute(object, method->name), node.arguments);
  }
  return call(expr, evaluate(*node.callee), node.arguments);
}

Value ExpressionEvaluator::call(const Expr& expr, const Value& callee, const Arguments& arguments) {
  const Args args = evaluate_arguments(arguments);
  at(expr);
  require_defined(callee);
  const Function* function = callee.as_function();
  if (!function) {
    throw TemplateError(fmt::format("'{}' object is not callable", type_name(callee)));
  }
  Value result = function->call(args);
  at(expr);
  return result;
}

Value ExpressionEvaluator::filtered(const Expr& expr, Value body) {
  const auto& node = std::get<FilterExpr>(expr.node);
  const Value input = node.input ? filtered(*node.input, std::move(body)) : std::move(body);
  return apply(expr, node, input);
}

Value ExpressionEvaluator::apply(const Expr& expr, const FilterExpr& node, const Value& input) {
  const Args args = evaluate_arguments(node.arguments);
  at(expr);
  budget_.step(weight(input));
  return node.filter(input, args, budget_);
}

Value ExpressionEvaluator::value_of(const Expr& expr, const FilterExpr& node) {
  return apply(expr, node, evaluate(*node.input));
}

Value ExpressionEvaluator::value_of(const Expr& expr, const TestExpr& node) {
  const Value input = evaluate(*node.input);
  const Args args = evaluate_arguments(node.arguments);
  at(expr);
  return Value(node.test(input, args, budget_));
}

Value ExpressionEvaluator::value_of(const Expr&, const NotExpr& node) {
  return Value(!truthy(evaluate(*node.operand)));
}

Value ExpressionEvaluator::value_of(const Expr& expr, const SignExpr& node) {
  const Value operand = evaluate(*node.operand);
  at(expr);
  return node.minus ? negate(operand) : positive(operand);
}

Value ExpressionEvaluator::value_of(const Expr& expr, const ArithmeticExpr& node) {
  const Value left = evaluate(*node.left);
  const Value right = evaluate(*node.right);
  at(expr);
  return arithmetic(node.op, left, right, budget_);
}

Value ExpressionEvaluator::value_of(const Expr&, const LogicExpr& node) {
  Value left = evaluate(*node.left);
  return truthy(left) == node.is_and ? evaluate(*node.right) : left;
}

Value ExpressionEvaluator::value_of(const Expr& expr, const CompareExpr& node) {
  Value left = evaluate(*node.first);
  for (const auto& [comparison, operand] : node.rest) {
    Value right = evaluate(*operand);
    at(expr);
    if (!compare(comparison, left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

bool ExpressionEvaluator::compare(Comparison comparison, const Value& left, const Value& right) {
  budget_.step(weight(left) + weight(right));
  switch (comparison) {
    case Comparison::kEqual:
      return equals(left, right, budget_);
    case Comparison::kNotEqual:
      return !equals(left, right, budget_);
    case Comparison::kLess:
      return less(left, right, "<", budget_);
    case Comparison::kGreater:
      return less(right, left, ">", budget_);
    case Comparison::kLessEqual:
      return less(left, right, "<=", budget_) || equals(left, right, budget_);
    case Comparison::kGreaterEqual:
      return less(right, left, ">=", budget_) || equals(left, right, budget_);
    case Comparison::kIn:
    case Comparison::kNotIn:
      return contains(right, left, budget_) == (comparison == Comparison::kIn);
  }
  return false;
}

Value ExpressionEvaluator::value_of(const Expr& expr, const ConcatExpr& node) {
  std::string out;
  for (const ExprPtr& item : node.items) {
    out += to_text(evaluate(*item));
    at(expr);
    budget_.text(out.size());
  }
  return Value(std::move(out));
}

Value ExpressionEvaluator::value_of(const Expr&, const ConditionalExpr& node) {
  if (truthy(evaluate(*node.condition))) return evaluate(*node.chosen);
  if (node.otherwise) return evaluate(*node.otherwise);
  return Value::undefined(
      "the inline if-expression evaluated to false and no else section was defined");
}

}  // namespace limbic::data::jinja
