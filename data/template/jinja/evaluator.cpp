#include "data/template/jinja/evaluator.h"

#include <fmt/format.h>

#include "data/template/jinja/expression_evaluator.h"
#include "data/template/jinja/operations.h"
#include "data/template/jinja/printing.h"

namespace limbic::data::jinja {
namespace {

// How a block ended.
enum class Flow { kNext, kBreak, kContinue };

class Evaluator {
 public:
  explicit Evaluator(const Variables& variables) : expressions_(variables) {}

  // The scope of a macro holds the macro.
  ~Evaluator() {
    for (const auto& scope : captured_) scope->variables.clear();
  }
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  Output run(const Block& body) {
    try {
      run_block(body);
    } catch (const TemplateError& error) {
      throw RenderError{expressions_.line(), error.what()};
    }
    return std::move(root_);
  }

 private:
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
      expressions_.budget().step();
      expressions_.at_line(statement.line);
      const Flow flow =
          std::visit([&](const auto& node) { return run(statement, node); }, statement.node);
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  void write(std::string_view text) {
    expressions_.budget().text(
        output_->text.size() + text.size() > kMaxTextBytes ? kMaxTextBytes + 1 : text.size());
    output_->text += text;
  }

  Flow run(const Statement&, const TextStatement& node) {
    write(node.text);
    return Flow::kNext;
  }

  Flow run(const Statement& statement, const OutputStatement& node) {
    const Value value = expressions_.evaluate(*node.value);
    expressions_.at_line(statement.line);
    if (const std::string* text = value.as_text()) {
      write(*text);
    } else {
      write(to_text(value));
    }
    return Flow::kNext;
  }

  Flow run(const Statement&, const IfStatement& node) {
    for (const auto& [condition, body] : node.branches) {
      if (truthy(expressions_.evaluate(*condition))) return run_block(body);
    }
    return run_block(node.otherwise);
  }

  std::vector<Value> items_of(const ForStatement& node) {
    std::vector<Value> items =
        iterate(expressions_.evaluate(*node.iterable), expressions_.budget());
    if (!node.condition) return items;
    std::vector<Value> chosen;
    for (Value& item : items) {
      const ScopeGuard scope(expressions_);
      assign(node.target, item);
      if (truthy(expressions_.evaluate(*node.condition))) chosen.push_back(std::move(item));
    }
    return chosen;
  }

  Flow run(const Statement&, const ForStatement& node) {
    const auto items = std::make_shared<const std::vector<Value>>(items_of(node));
    const auto changed = std::make_shared<std::optional<std::vector<Value>>>();
    bool completed = false;
    ++loops_;
    for (std::size_t i = 0; i < items->size(); ++i) {
      expressions_.budget().step();
      const ScopeGuard scope(expressions_);
      auto state = std::make_shared<const LoopState>(LoopState{items, i, loops_, changed});
      expressions_.scope()->set("loop", Value(Value::Data(std::move(state))));
      assign(node.target, (*items)[i]);
      const Flow flow = run_block(node.body);
      if (flow == Flow::kBreak) break;
      completed = completed || flow == Flow::kNext;
    }
    --loops_;
    // Jinja runs `else` also when no round came to its end (`continue`, `break`).
    if (completed) return Flow::kNext;
    const ScopeGuard scope(expressions_);
    return run_block(node.otherwise);
  }

  Flow run(const Statement& statement, const SetStatement& node) {
    Value value = expressions_.evaluate(*node.value);
    expressions_.at_line(statement.line);
    assign(node.target, value);
    return Flow::kNext;
  }

  Flow run(const Statement& statement, const SetBlockStatement& node) {
    Value value;
    {
      Capture capture(*this);
      const ScopeGuard scope(expressions_);
      const Flow flow = run_block(node.body);
      if (flow != Flow::kNext) return flow;
      value = Value(std::move(capture.inner.text));
    }
    if (node.filter) value = expressions_.filtered(*node.filter, std::move(value));
    expressions_.at_line(statement.line);
    assign(node.target, value);
    return Flow::kNext;
  }

  Flow run(const Statement&, const MacroStatement& node) {
    if (captured_.empty() || captured_.back() != expressions_.scope())
      captured_.push_back(expressions_.scope());
    expressions_.scope()->set(
        node.name,
        make_function(node.name, [this, &node, scope = expressions_.scope()](const Args& args) {
          return call_macro(node, scope, args);
        }));
    return Flow::kNext;
  }

  Flow run(const Statement&, const GenerationStatement& node) {
    const std::size_t start = output_->text.size();
    const ScopeGuard scope(expressions_);
    const Flow flow = run_block(node.body);
    if (output_ == &root_) {
      root_.generation_spans.emplace_back(start, root_.text.size());
    } else {
      root_.spans_complete = false;
    }
    return flow;
  }

  Flow run(const Statement&, const BreakStatement&) { return Flow::kBreak; }
  Flow run(const Statement&, const ContinueStatement&) { return Flow::kContinue; }

  void assign(const Target& target, const Value& value) {
    if (target.kind == Target::Kind::kName) {
      expressions_.scope()->set(target.name, value);
    } else if (target.kind == Target::Kind::kAttribute) {
      Namespace* space = expressions_.look_up(target.name).as_namespace();
      if (!space) throw TemplateError("cannot assign attribute on non-namespace object");
      space->attributes.set(Value(target.attribute), value);
    } else {
      require_defined(value);
      const std::vector<Value> items = iterate(value, expressions_.budget());
      if (items.size() != target.items.size()) {
        throw TemplateError(
            fmt::format("got {} values to unpack, want {}", items.size(), target.items.size()));
      }
      for (std::size_t i = 0; i < items.size(); ++i) assign(target.items[i], items[i]);
    }
  }

  Value call_macro(const MacroStatement& macro, const std::shared_ptr<Scope>& captured,
                   const Args& args) {
    const ScopeGuard scope(expressions_, captured);
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
              ? expressions_.evaluate(*parameter.otherwise)
              : Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name));
      expressions_.scope()->set(parameter.name, std::move(value));
    }
  }

  ExpressionEvaluator expressions_;
  Output root_;
  Output* output_ = &root_;
  std::vector<std::shared_ptr<Scope>> captured_;  // scopes that a macro holds
  int depth_ = 0;
  std::int64_t loops_ = 0;
};

}  // namespace

Output evaluate(const ParsedTemplate& parsed, const Variables& variables) {
  return Evaluator(variables).run(parsed.body);
}

}  // namespace limbic::data::jinja
