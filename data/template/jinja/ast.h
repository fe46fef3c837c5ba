// The tree of a parsed template. It is immutable after parsing, so threads can share it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "data/template/jinja/library/registry.h"
#include "data/template/jinja/value.h"

namespace limbic::data::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<const Expr>;

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
};

struct ConstantExpr {
  Value value;
};
struct NameExpr {
  std::string name;
};
struct ListExpr {
  std::vector<ExprPtr> items;
  bool is_tuple = false;
};
struct DictExpr {
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
};
struct AttributeExpr {  // object.name
  ExprPtr object;
  std::string name;
};
struct ItemExpr {  // object[index]
  ExprPtr object;
  ExprPtr index;
};
struct SliceExpr {  // object[start:stop:step]; null where left out
  ExprPtr object;
  ExprPtr start, stop, step;
};
struct CallExpr {
  ExprPtr callee;
  Arguments arguments;
};
struct FilterExpr {
  ExprPtr input;  // null: the body of a set block
  std::string name;
  FilterFunction filter = nullptr;
  Arguments arguments;
};
struct TestExpr {
  ExprPtr input;
  TestFunction test = nullptr;
  Arguments arguments;
};
struct NotExpr {
  ExprPtr operand;
};
struct SignExpr {
  bool minus = false;
  ExprPtr operand;
};
struct ArithmeticExpr {
  std::string op;
  ExprPtr left, right;
};
struct LogicExpr {  // gives one of its operands, as in Python
  bool is_and = false;
  ExprPtr left, right;
};
enum class Comparison {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};
struct CompareExpr {  // a < b < c
  ExprPtr first;
  std::vector<std::pair<Comparison, ExprPtr>> rest;
};
struct ConcatExpr {
  std::vector<ExprPtr> items;
};
struct ConditionalExpr {
  ExprPtr condition, chosen;
  ExprPtr otherwise;  // null: undefined
};

struct Expr {
  int line = 1;
  int height = 1;  // of the tree below; bounded by the parser
  std::variant<ConstantExpr, NameExpr, ListExpr, DictExpr, AttributeExpr, ItemExpr, SliceExpr,
               CallExpr, FilterExpr, TestExpr, NotExpr, SignExpr, ArithmeticExpr, LogicExpr,
               CompareExpr, ConcatExpr, ConditionalExpr>
      node;
};

// What an assignment writes to.
struct Target {
  enum class Kind { kName, kAttribute, kTuple };
  Kind kind = Kind::kName;
  int line = 1;
  std::string name;       // of the variable or the namespace
  std::string attribute;  // kAttribute
  std::vector<Target> items;
};

struct Statement;
using Block = std::vector<Statement>;

struct TextStatement {
  std::string text;
};
struct OutputStatement {
  ExprPtr value;
};
struct IfStatement {
  std::vector<std::pair<ExprPtr, Block>> branches;
  Block otherwise;
};
struct ForStatement {
  Target target;
  ExprPtr iterable;
  ExprPtr condition;  // null when there is none
  Block body;
  Block otherwise;
};
struct SetStatement {
  Target target;
  ExprPtr value;
};
struct SetBlockStatement {
  Target target;
  ExprPtr filter;  // null, or filters whose innermost input is null
  Block body;
};
struct Parameter {
  std::string name;
  ExprPtr otherwise;  // null when there is no default
};
struct MacroStatement {
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
};
struct GenerationStatement {
  Block body;
};
struct BreakStatement {};
struct ContinueStatement {};

struct Statement {
  int line = 1;
  std::variant<TextStatement, OutputStatement, IfStatement, ForStatement, SetStatement,
               SetBlockStatement, MacroStatement, GenerationStatement, BreakStatement,
               ContinueStatement>
      node;
};

}  // namespace limbic::data::jinja
