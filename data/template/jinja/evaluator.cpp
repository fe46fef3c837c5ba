#include "data/template/jinja/evaluator.h"

#include <fmt/format.h>

#include "data/template/jinja/functions.h"
#include "data/template/jinja/operations.h"
#include "data/template/jinja/printing.h"
#include "data/template/jinja/text.h"

namespace limbic::data::jinja {
namespace {

struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;

  void set(const std::string& name, Value value) {
    for (auto& [known, held] : variables) {
      if (known == name) {
        held = std::move(value);
        return;
      }
    }
    variables.emplace_back(name, std::move(value));
  }
};

// How a block ended.
enum class Flow { kNext, kBreak, kContinue };

class Evaluator {
 public:
  explicit Evaluator(const Variables& variables) : variables_(variables) {}

  // Macros and namespaces can hold themselves.
  ~Evaluator() {
    for (const auto& space : namespaces_) space->attributes = {};
    for (const auto& scope : captured_) scope->variables.clear();
  }
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  Output run(const Block& body) {
    try {
      run_block(body);
    } catch (const TemplateError& error) {
      throw RenderError{line_, error.what()};
    }
    return std::move(root_);
  }

 private:
  // A scope of its own for as long as it lives.
  class ScopeGuard {
   public:
    ScopeGuard(Evaluator& evaluator, std::shared_ptr<Scope> parent) : evaluator_(evaluator) {
      outer_ =
          std::exchange(evaluator.scope_, std::make_shared<Scope>(Scope{std::move(parent), {}}));
    }
    explicit ScopeGuard(Evaluator& evaluator) : ScopeGuard(evaluator, evaluator.scope_) {}
    ~ScopeGuard() { evaluator_.scope_ = std::move(outer_); }
    ScopeGuard(const ScopeGuard&) = delete;
    ScopeGuard& operator=(const ScopeGuard&) = delete;

   private:
    Evaluator& evaluator_;
    std::shared_ptr<Scope> outer_;
  };

  // Collects what is written for as long as it lives.
  class Capture {
   public:
    explicit Capture(Evaluator& evaluator)
        : evaluator_(evaluator), outer_(std::exchange(evaluator.output_, &inner)) {}
    ~Capture() { evaluator_.output_ = outer_; }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    Output inner;

   private:
    Evaluator& evaluator_;
    Output* outer_;
  };

  Flow run_block(const Block& block) {
    const DepthGuard guard(depth_);
    for (const Statement& statement : block) {
      budget_.step();
      line_ = statement.line;
      const Flow flow =
          std::visit([&](const auto& node) { return run(statement, node); }, statement.node);
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  void write(std::string_view text) {
    budget_.text(output_->text.size() + text.size() > kMaxTextBytes ? kMaxTextBytes + 1
                                                                    : text.size());
    output_->text += text;
  }

  Flow run(const Statement&, const TextStatement& node) {
    write(node.text);
    return Flow::kNext;
  }

  Flow run(const Statement& statement, const OutputStatement& node) {
    const Value value = evaluate(*node.value);
    line_ = statement.line;
    if (const std::string* text = value.as_text()) {
      write(*text);
    } else {
      write(to_text(value));
    }
    return Flow::kNext;
  }

  Flow run(const Statement&, const IfStatement& node) {
    for (const auto& [condition, body] : node.branches) {
      if (truthy(evaluate(*condition))) return run_block(body);
    }
    return run_block(node.otherwise);
  }

  std::vector<Value> items_of(const ForStatement& node) {
    std::vector<Value> items = iterate(evaluate(*node.iterable), budget_);
    if (!node.condition) return items;
    std::vector<Value> chosen;
    for (Value& item : items) {
      const ScopeGuard scope(*this);
      assign(node.target, item);
      if (truthy(evaluate(*node.condition))) chosen.push_back(std::move(item));
    }
    return chosen;
  }

  Flow run(const Statement&, const ForStatement& node) {
    const auto items = std::make_shared<const std::vector<Value>>(items_of(node));
    const auto changed = std::make_shared<std::optional<std::vector<Value>>>();
    ++loops_;
    for (std::size_t i = 0; i < items->size(); ++i) {
      budget_.step();
      const ScopeGuard scope(*this);
      auto state = std::make_shared<const LoopState>(LoopState{items, i, loops_, changed});
      scope_->set("loop", Value(Value::Data(std::move(state))));
      assign(node.target, (*items)[i]);
      if (run_block(node.body) == Flow::kBreak) break;
    }
    --loops_;
    if (!items->empty()) return Flow::kNext;
    const ScopeGuard scope(*this);
    return run_block(node.otherwise);
  }

  Flow run(const Statement& statement, const SetStatement& node) {
    Value value = evaluate(*node.value);
    line_ = statement.line;
    assign(node.target, value);
    return Flow::kNext;
  }

  Flow run(const Statement& statement, const SetBlockStatement& node) {
    Value value;
    {
      Capture capture(*this);
      const ScopeGuard scope(*this);
      const Flow flow = run_block(node.body);
      if (flow != Flow::kNext) return flow;
      value = Value(std::move(capture.inner.text));
    }
    if (node.filter) value = filtered(*node.filter, std::move(value));
    line_ = statement.line;
    assign(node.target, value);
    return Flow::kNext;
  }

  Flow run(const Statement&, const MacroStatement& node) {
    if (captured_.empty() || captured_.back() != scope_) captured_.push_back(scope_);
    scope_->set(node.name,
                make_function(node.name, [this, &node, scope = scope_](const Args& args) {
                  return call_macro(node, scope, args);
                }));
    return Flow::kNext;
  }

  Flow run(const Statement&, const GenerationStatement& node) {
    const std::size_t start = output_->text.size();
    const ScopeGuard scope(*this);
    const Flow flow = run_block(node.body);
    if (output_ != &root_) {
      throw TemplateError("a generation block inside a macro or a set block is not supported");
    }
    output_->generation_spans.emplace_back(start, output_->text.size());
    return flow;
  }

  Flow run(const Statement&, const BreakStatement&) { return Flow::kBreak; }
  Flow run(const Statement&, const ContinueStatement&) { return Flow::kContinue; }

  void assign(const Target& target, const Value& value) {
    if (target.kind == Target::Kind::kName) {
      scope_->set(target.name, value);
    } else if (target.kind == Target::Kind::kAttribute) {
      Namespace* space = look_up(target.name).as_namespace();
      if (!space) throw TemplateError("cannot assign attribute on non-namespace object");
      space->attributes.set(Value(target.attribute), value);
    } else {
      require_defined(value);
      const std::vector<Value> items = iterate(value, budget_);
      if (items.size() != target.items.size()) {
        throw TemplateError(
            fmt::format("got {} values to unpack, want {}", items.size(), target.items.size()));
      }
      for (std::size_t i = 0; i < items.size(); ++i) assign(target.items[i], items[i]);
    }
  }

  Value look_up(const std::string& name) {
    for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
      for (const auto& [known, value] : scope->variables) {
        if (known == name) return value;
      }
    }
    const auto given = variables_.find(name);
    return given != variables_.end() ? given->second : find_function(name, budget_, namespaces_);
  }

  Value call_macro(const MacroStatement& macro, const std::shared_ptr<Scope>& captured,
                   const Args& args) {
    const ScopeGuard scope(*this, captured);
    Capture capture(*this);
    bind(macro, args);
    run_block(macro.body);
    return Value(std::move(capture.inner.text));
  }

  void bind(const MacroStatement& macro, const Args& args) {
    if (args.positional.size() > macro.parameters.size()) {
      throw TemplateError(fmt::format("macro '{}' takes not more than {} argument(s)", macro.name,
                                      macro.parameters.size()));
    }
    std::vector<const Value*> given(macro.parameters.size());
    for (std::size_t i = 0; i < args.positional.size(); ++i) given[i] = &args.positional[i];
    for (const auto& [name, value] : args.named) {
      std::size_t i = 0;
      while (i < given.size() && macro.parameters[i].name != name) ++i;
      if (i == given.size()) {
        throw TemplateError(
            fmt::format("macro '{}' takes no keyword argument '{}'", macro.name, name));
      }
      if (given[i]) {
        throw TemplateError(
            fmt::format("macro '{}' got multiple values for argument '{}'", macro.name, name));
      }
      given[i] = &value;
    }
    for (std::size_t i = 0; i < given.size(); ++i) {
      const Parameter& parameter = macro.parameters[i];
      Value value =
          given[i] ? *given[i]
          : parameter.otherwise
              ? evaluate(*parameter.otherwise)
              : Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name));
      scope_->set(parameter.name, std::move(value));
    }
  }

  Value evaluate(const Expr& expr) {
    const DepthGuard guard(frames_, kMaxFrames);
    budget_.step();
    line_ = expr.line;
    return std::visit([&](const auto& node) { return value_of(expr, node); }, expr.node);
  }

  // Back to this expression for messages, after its parts were evaluated.
  void at(const Expr& expr) { line_ = expr.line; }

  Value value_of(const Expr&, const ConstantExpr& node) { return node.value; }
  Value value_of(const Expr&, const NameExpr& node) { return look_up(node.name); }

  Value value_of(const Expr&, const ListExpr& node) {
    std::vector<Value> items;
    for (const ExprPtr& item : node.items) items.push_back(evaluate(*item));
    return node.is_tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
  }

  Value value_of(const Expr&, const DictExpr& node) {
    Dict dict;
    for (const auto& [key, value] : node.entries) {
      const Value name = evaluate(*key);
      dict.set(name, evaluate(*value));
    }
    return Value::dict(std::move(dict));
  }

  Value method_of(const Value& object, const std::string& name) {
    return make_function(name, [this, object, name](const Args& args) {
      budget_.step(weight(object));
      return call_method(object, name, args, budget_);
    });
  }

  Value attribute(const Value& object, const std::string& name) {
    require_defined(object);
    if (name.starts_with("__")) {
      throw TemplateError(fmt::format("access to attribute '{}' of '{}' object is unsafe", name,
                                      type_name(object)));
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

  Value value_of(const Expr& expr, const AttributeExpr& node) {
    const Value object = evaluate(*node.object);
    at(expr);
    return attribute(object, node.name);
  }

  Value value_of(const Expr& expr, const ItemExpr& node) {
    const Value object = evaluate(*node.object);
    const Value index = evaluate(*node.index);
    at(expr);
    budget_.step(object.as_text() ? weight(object) : 0);
    Value found = item(object, index);
    if (!found.is_undefined() || !index.as_text()) return found;
    const std::string& name = *index.as_text();
    const bool by_name = object.as_namespace() || object.as_loop() || has_method(object, name);
    return by_name ? attribute(object, name) : found;
  }

  Value value_of(const Expr& expr, const SliceExpr& node) {
    const Value object = evaluate(*node.object);
    const Value start = node.start ? evaluate(*node.start) : Value();
    const Value stop = node.stop ? evaluate(*node.stop) : Value();
    const Value step = node.step ? evaluate(*node.step) : Value();
    at(expr);
    return slice(object, start, stop, step, budget_);
  }

  Args evaluate_arguments(const Arguments& arguments) {
    Args args;
    for (const ExprPtr& argument : arguments.positional)
      args.positional.push_back(evaluate(*argument));
    for (const auto& [name, argument] : arguments.named)
      args.named.emplace_back(name, evaluate(*argument));
    return args;
  }

  Value value_of(const Expr& expr, const CallExpr& node) {
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

  Value call(const Expr& expr, const Value& callee, const Arguments& arguments) {
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

  Value filtered(const Expr& expr, Value body) {
    const auto& node = std::get<FilterExpr>(expr.node);
    const Value input = node.input ? filtered(*node.input, std::move(body)) : std::move(body);
    return apply(expr, node, input);
  }

  Value apply(const Expr& expr, const FilterExpr& node, const Value& input) {
    const Args args = evaluate_arguments(node.arguments);
    at(expr);
    budget_.step(weight(input));
    return node.filter(input, args, budget_);
  }

  Value value_of(const Expr& expr, const FilterExpr& node) {
    return apply(expr, node, evaluate(*node.input));
  }

  Value value_of(const Expr& expr, const TestExpr& node) {
    const Value input = evaluate(*node.input);
    const Args args = evaluate_arguments(node.arguments);
    at(expr);
    return Value(node.test(input, args, budget_));
  }

  Value value_of(const Expr&, const NotExpr& node) {
    return Value(!truthy(evaluate(*node.operand)));
  }

  Value value_of(const Expr& expr, const SignExpr& node) {
    const Value operand = evaluate(*node.operand);
    at(expr);
    return node.minus ? negate(operand) : positive(operand);
  }

  Value value_of(const Expr& expr, const ArithmeticExpr& node) {
    const Value left = evaluate(*node.left);
    const Value right = evaluate(*node.right);
    at(expr);
    return arithmetic(node.op, left, right, budget_);
  }

  Value value_of(const Expr&, const LogicExpr& node) {
    Value left = evaluate(*node.left);
    return truthy(left) == node.is_and ? evaluate(*node.right) : left;
  }

  Value value_of(const Expr& expr, const CompareExpr& node) {
    Value left = evaluate(*node.first);
    for (const auto& [comparison, operand] : node.rest) {
      Value right = evaluate(*operand);
      at(expr);
      if (!compare(comparison, left, right)) return Value(false);
      left = std::move(right);
    }
    return Value(true);
  }

  bool compare(Comparison comparison, const Value& left, const Value& right) {
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
        budget_.step(weight(right));
        return contains(right, left, budget_) == (comparison == Comparison::kIn);
    }
    return false;
  }

  Value value_of(const Expr& expr, const ConcatExpr& node) {
    std::string out;
    for (const ExprPtr& item : node.items) {
      out += to_text(evaluate(*item));
      at(expr);
      budget_.text(out.size());
    }
    return Value(std::move(out));
  }

  Value value_of(const Expr&, const ConditionalExpr& node) {
    if (truthy(evaluate(*node.condition))) return evaluate(*node.chosen);
    if (node.otherwise) return evaluate(*node.otherwise);
    return Value::undefined(
        "the inline if-expression evaluated to false and no else section was defined");
  }

  const Variables& variables_;
  Budget budget_;
  Output root_;
  Output* output_ = &root_;
  Namespaces namespaces_;
  std::vector<std::shared_ptr<Scope>> captured_;  // scopes that a macro holds
  std::shared_ptr<Scope> scope_ = std::make_shared<Scope>();
  int depth_ = 0;
  int frames_ = 0;
  std::int64_t loops_ = 0;
  int line_ = 1;
};

}  // namespace

Output evaluate(const ParsedTemplate& parsed, const Variables& variables) {
  return Evaluator(variables).run(parsed.body);
}

}  // namespace limbic::data::jinja
