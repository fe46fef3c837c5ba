// The values of a template: Python's, as far as templates can see them.
//
// Strings are UTF-8 and count in code points. Everything but a namespace is immutable, so values
// share their contents.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "data/template/jinja/budget.h"
#include "trainer/base/fields.h"

namespace limbic::data::jinja {

class Value;
struct Sequence;
struct Dict;
struct Namespace;
struct Function;
struct LoopState;

struct Undefined {
  // What using the value raises, e.g. "'x' is undefined".
  std::shared_ptr<const std::string> reason;
};
struct None {};
struct Text {
  std::shared_ptr<const std::string> bytes;
  bool markup = false;  // made by `safe` or `escape`: `+` escapes the other operand
};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, std::int64_t, double, Text,
                            std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
                            std::shared_ptr<Namespace>, std::shared_ptr<const Function>,
                            std::shared_ptr<const LoopState>>;

  Value() : data_(None{}) {}
  Value(bool value) : data_(value) {}          // NOLINT: values convert
  Value(std::int64_t value) : data_(value) {}  // NOLINT
  Value(double value) : data_(value) {}        // NOLINT
  Value(std::string text) : data_(Text{std::make_shared<const std::string>(std::move(text))}) {}
  Value(const char* text) : Value(std::string(text)) {}  // NOLINT
  Value(Data data) : data_(std::move(data)) {}           // NOLINT
  static Value undefined(std::string reason);
  static Value markup(std::string text);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict(Dict entries);
  // Can be walked once (what filters like `map` give).
  static Value iterator(std::vector<Value> items);
  static Value size(std::size_t count) { return Value(static_cast<std::int64_t>(count)); }
  // Throws TemplateError: integers beyond 64 bits, text that is not UTF-8, more than 200 levels.
  static Value from_json(const Json& json);

  const Data& data() const { return data_; }
  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  // Null when the value is something else.
  const bool* as_bool() const { return std::get_if<bool>(&data_); }
  const std::string* as_text() const;
  bool is_markup() const;
  const Sequence* as_sequence() const;
  const Dict* as_dict() const;
  Namespace* as_namespace() const;
  const Function* as_function() const;
  const LoopState* as_loop() const;
  // Python's int, which bool is one of.
  std::optional<std::int64_t> as_integer() const;
  // int, bool or float.
  std::optional<double> as_number() const;

 private:
  Data data_;
};

using Variables = std::map<std::string, Value, std::less<>>;

struct Sequence {
  enum class Kind { kList, kTuple, kRange, kDictKeys, kDictValues, kDictItems, kIterator };
  Kind kind = Kind::kList;
  std::vector<Value> items;
  std::string label;            // how a range prints
  int nesting = 1;              // levels of containers, this one included; at most 200
  mutable bool walked = false;  // an iterator gives its items once
};

struct Dict {
  // In order of insertion; a repeated key keeps its place and takes the new value.
  std::vector<std::pair<Value, Value>> entries;

  int nesting = 1;

  // Throws TemplateError for a key that is no scalar or tuple of scalars.
  void set(const Value& key, Value value);
  // Null when the key is not there.
  const Value* find(const Value& key) const;
  const Value* find_name(std::string_view key) const;

 private:
  std::unordered_map<std::string, std::size_t> index_;
};

struct Namespace {
  Dict attributes;
};

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // The arguments by parameter, empty where none was given.
  // Throws TemplateError: too many, or one that `function` does not have.
  std::vector<std::optional<Value>> bind(std::string_view function,
                                         std::initializer_list<std::string_view> parameters) const;
};

struct Function {
  std::string name;
  std::function<Value(const Args&)> call;
};

// `loop` inside a for statement.
struct LoopState {
  std::shared_ptr<const std::vector<Value>> items;
  std::size_t index = 0;
  std::int64_t depth = 1;
  std::shared_ptr<std::optional<std::vector<Value>>> last_changed;

  // Throws TemplateError when there is no such attribute.
  Value attribute(std::string_view name) const;
};

}  // namespace limbic::data::jinja
