#include "data/template/jinja/operations.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "data/template/jinja/printing.h"
#include "data/template/jinja/text.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data::jinja {
namespace {

[[noreturn]] void fail_operands(std::string_view op, const Value& left, const Value& right) {
  require_defined(left);
  require_defined(right);
  throw TemplateError(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", op,
                                  type_name(left), type_name(right)));
}

[[noreturn]] void fail_overflow() {
  throw TemplateError("an integer does not fit 64 bits (limit)");
}

std::int64_t add(std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  if (__builtin_add_overflow(left, right, &result)) fail_overflow();
  return result;
}

std::int64_t subtract(std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  if (__builtin_sub_overflow(left, right, &result)) fail_overflow();
  return result;
}

std::int64_t multiply(std::int64_t left, std::int64_t right) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(left, right, &result)) fail_overflow();
  return result;
}

std::int64_t floor_divide(std::int64_t left, std::int64_t right) {
  if (right == 0) throw TemplateError("integer division or modulo by zero");
  if (right == -1) return subtract(0, left);
  const std::int64_t quotient = left / right;
  return quotient - ((left % right != 0 && (left < 0) != (right < 0)) ? 1 : 0);
}

std::int64_t floor_modulo(std::int64_t left, std::int64_t right) {
  if (right == 0) throw TemplateError("integer modulo by zero");
  if (right == -1) return 0;
  const std::int64_t rest = left % right;
  return rest != 0 && (rest < 0) != (right < 0) ? rest + right : rest;
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0)
    return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  std::int64_t result = 1;
  if (base == 0 || base == 1 || base == -1) {
    return Value(exponent == 0 ? result : (base == -1 && exponent % 2 == 0) ? result : base);
  }
  for (std::int64_t i = 0; i < exponent; ++i) {
    result = multiply(result, base);
  }
  return Value(result);
}

Value integer_arithmetic(std::string_view op, std::int64_t left, std::int64_t right) {
  if (op == "+") return Value(add(left, right));
  if (op == "-") return Value(subtract(left, right));
  if (op == "*") return Value(multiply(left, right));
  if (op == "//") return Value(floor_divide(left, right));
  if (op == "%") return Value(floor_modulo(left, right));
  if (op == "**") return integer_power(left, right);
  if (right == 0) throw TemplateError("division by zero");
  return Value(static_cast<double>(left) / static_cast<double>(right));
}

Value float_arithmetic(std::string_view op, double left, double right) {
  if (op == "+") return Value(left + right);
  if (op == "-") return Value(left - right);
  if (op == "*") return Value(left * right);
  if (op == "**") return Value(std::pow(left, right));
  if (right == 0.0) throw TemplateError("float division by zero");
  if (op == "/") return Value(left / right);
  if (op == "//") return Value(std::floor(left / right));
  const double rest = std::fmod(left, right);
  return Value(rest != 0.0 && (rest < 0.0) != (right < 0.0) ? rest + right : rest);
}

Value add_texts(const Value& left, const Value& right, Budget& budget) {
  const std::string &a = *left.as_text(), &b = *right.as_text();
  budget.text(a.size() + b.size());
  if (!left.is_markup() && !right.is_markup()) return Value(a + b);
  return Value::markup((left.is_markup() ? a : escape_html(a)) +
                       (right.is_markup() ? b : escape_html(b)));
}

bool is_plain_sequence(const Sequence* sequence) {
  return sequence &&
         (sequence->kind == Sequence::Kind::kList || sequence->kind == Sequence::Kind::kTuple);
}

Value same_kind(const Sequence& model, std::vector<Value> items) {
  return model.kind == Sequence::Kind::kTuple ? Value::tuple(std::move(items))
                                              : Value::list(std::move(items));
}

Value add_sequences(const Sequence& left, const Sequence& right, Budget& budget) {
  budget.step(4 * (left.items.size() + right.items.size()));  // a list takes more room than text
  std::vector<Value> items = left.items;
  items.insert(items.end(), right.items.begin(), right.items.end());
  return same_kind(left, std::move(items));
}

Value repeat(const Value& value, std::int64_t times, Budget& budget) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(times, 0));
  const auto cost = [&](std::size_t size, std::size_t& total) {
    if (__builtin_mul_overflow(size, count, &total)) total = kMaxTextBytes + 1;
  };
  std::size_t total = 0;
  if (const std::string* text = value.as_text()) {
    cost(text->size(), total);
    budget.text(total);
    std::string out;
    for (std::size_t i = 0; i < count && !text->empty(); ++i) out += *text;
    return value.is_markup() ? Value::markup(std::move(out)) : Value(std::move(out));
  }
  const Sequence& sequence = *value.as_sequence();
  cost(4 * sequence.items.size(), total);
  budget.step(total);
  std::vector<Value> items;
  for (std::size_t i = 0; i < count && !sequence.items.empty(); ++i) {
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  }
  return same_kind(sequence, std::move(items));
}

bool sequences_equal(const Sequence& left, const Sequence& right, Budget& budget) {
  return left.kind == right.kind && left.items.size() == right.items.size() &&
         std::equal(left.items.begin(), left.items.end(), right.items.begin(),
                    [&](const Value& a, const Value& b) { return equals(a, b, budget); });
}

bool dicts_equal(const Dict& left, const Dict& right, Budget& budget) {
  if (left.entries.size() != right.entries.size()) return false;
  return std::all_of(left.entries.begin(), left.entries.end(), [&](const auto& entry) {
    const Value* other = right.find(entry.first);
    return other && equals(entry.second, *other, budget);
  });
}

std::size_t wrapped(std::int64_t index, std::size_t size, bool& inside) {
  const auto count = static_cast<std::int64_t>(size);
  if (index < 0) index += count;
  inside = index >= 0 && index < count;
  return inside ? static_cast<std::size_t>(index) : 0;
}

std::string missing_key(const Value& value, const Value& key) {
  const std::string owner = value.is_none() ? "None" : type_name(value) + " object";
  if (key.as_text()) return fmt::format("'{}' has no attribute {}", owner, repr(key));
  return fmt::format("{} has no element {}", owner, repr(key));
}

// The position of the character with this index.
std::size_t byte_of(std::string_view text, std::size_t index) {
  std::size_t i = 0;
  for (; index > 0; --index) next_code_point(text, i);
  return i;
}

// The positions that start:stop:step selects of `size` (Python's slice.indices).
std::vector<std::size_t> slice_positions(std::size_t size, const Value& start, const Value& stop,
                                         const Value& step) {
  const auto bound = [](const Value& value) -> std::optional<std::int64_t> {
    if (value.is_none()) return std::nullopt;
    if (const auto integer = value.as_integer()) return integer;
    throw TemplateError("slice indices must be integers or None");
  };
  const auto count = static_cast<std::int64_t>(size);
  const std::int64_t stride = bound(step).value_or(1);
  if (stride == 0) throw TemplateError("slice step cannot be zero");
  const std::int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? count : count - 1;
  const auto clamp = [&](std::optional<std::int64_t> value, std::int64_t otherwise) {
    if (!value) return otherwise;
    return std::clamp(*value < 0 ? *value + count : *value, low, high);
  };
  const std::int64_t begin = clamp(bound(start), stride > 0 ? low : high);
  const std::int64_t end = clamp(bound(stop), stride > 0 ? high : low);
  std::vector<std::size_t> positions;
  for (std::int64_t i = begin; stride > 0 ? i < end : i > end;) {
    positions.push_back(static_cast<std::size_t>(i));
    if (__builtin_add_overflow(i, stride, &i)) break;
  }
  return positions;
}

Value character(const std::string& text, const Value& key, const Value& owner) {
  const auto index = key.as_integer();
  if (!index) return Value::undefined(missing_key(owner, key));
  bool inside = false;
  const std::size_t place = wrapped(*index, count_code_points(text), inside);
  if (!inside) return Value::undefined(missing_key(owner, key));
  const std::size_t start = byte_of(text, place);
  std::size_t end = start;
  next_code_point(text, end);
  return Value(text.substr(start, end - start));
}

}  // namespace

std::string type_name(const Value& value) {
  struct Names {
    std::string operator()(const Undefined&) const { return "Undefined"; }
    std::string operator()(const None&) const { return "NoneType"; }
    std::string operator()(bool) const { return "bool"; }
    std::string operator()(std::int64_t) const { return "int"; }
    std::string operator()(double) const { return "float"; }
    std::string operator()(const Text& text) const { return text.markup ? "Markup" : "str"; }
    std::string operator()(const std::shared_ptr<const Sequence>& sequence) const {
      switch (sequence->kind) {
        case Sequence::Kind::kList:
          return "list";
        case Sequence::Kind::kTuple:
          return "tuple";
        case Sequence::Kind::kRange:
          return "range";
        case Sequence::Kind::kDictKeys:
          return "dict_keys";
        case Sequence::Kind::kDictValues:
          return "dict_values";
        case Sequence::Kind::kDictItems:
          return "dict_items";
        case Sequence::Kind::kIterator:
          return "generator";
      }
      return {};
    }
    std::string operator()(const std::shared_ptr<const Dict>&) const { return "dict"; }
    std::string operator()(const std::shared_ptr<Namespace>&) const { return "Namespace"; }
    std::string operator()(const std::shared_ptr<const Function>&) const { return "function"; }
    std::string operator()(const std::shared_ptr<const LoopState>&) const { return "LoopContext"; }
  };
  return std::visit(Names{}, value.data());
}

void require_defined(const Value& value) {
  if (const auto* undefined = std::get_if<Undefined>(&value.data())) {
    throw TemplateError(*undefined->reason);
  }
}

bool truthy(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const auto number = value.as_number()) return *number != 0.0;
  if (const std::string* text = value.as_text()) return !text->empty();
  if (const Dict* dict = value.as_dict()) return !dict->entries.empty();
  const Sequence* sequence = value.as_sequence();
  return !sequence || sequence->kind == Sequence::Kind::kIterator || !sequence->items.empty();
}

bool equals(const Value& left, const Value& right, Budget& budget) {
  budget.step();
  if (left.as_integer() && right.as_integer()) return *left.as_integer() == *right.as_integer();
  if (left.as_number() && right.as_number()) return *left.as_number() == *right.as_number();
  if (left.as_text() && right.as_text()) return *left.as_text() == *right.as_text();
  if (left.as_sequence() && right.as_sequence()) {
    return left.as_sequence() == right.as_sequence() ||
           sequences_equal(*left.as_sequence(), *right.as_sequence(), budget);
  }
  if (left.as_dict() && right.as_dict()) {
    return left.as_dict() == right.as_dict() ||
           dicts_equal(*left.as_dict(), *right.as_dict(), budget);
  }
  if (left.as_namespace()) return left.as_namespace() == right.as_namespace();
  if (left.as_function()) return left.as_function() == right.as_function();
  return (left.is_undefined() && right.is_undefined()) || (left.is_none() && right.is_none());
}

bool less(const Value& left, const Value& right, std::string_view symbol, Budget& budget) {
  budget.step();
  if (left.as_integer() && right.as_integer()) return *left.as_integer() < *right.as_integer();
  if (left.as_number() && right.as_number()) return *left.as_number() < *right.as_number();
  if (left.as_text() && right.as_text()) return *left.as_text() < *right.as_text();
  const Sequence *a = left.as_sequence(), *b = right.as_sequence();
  if (is_plain_sequence(a) && is_plain_sequence(b) && a->kind == b->kind) {
    for (std::size_t i = 0; i < std::min(a->items.size(), b->items.size()); ++i) {
      if (equals(a->items[i], b->items[i], budget)) continue;
      return less(a->items[i], b->items[i], symbol, budget);
    }
    return a->items.size() < b->items.size();
  }
  require_defined(left);
  require_defined(right);
  const bool turned = symbol.starts_with('>');  // `a > b` asks for b < a
  throw TemplateError(fmt::format("'{}' not supported between instances of '{}' and '{}'", symbol,
                                  type_name(turned ? right : left),
                                  type_name(turned ? left : right)));
}

bool contains(const Value& container, const Value& wanted, Budget& budget) {
  if (const std::string* text = container.as_text()) {
    if (const std::string* part = wanted.as_text()) return text->find(*part) != std::string::npos;
    throw TemplateError(
        fmt::format("'in <string>' requires string as left operand, not {}", type_name(wanted)));
  }
  if (const Dict* dict = container.as_dict()) return dict->find(wanted) != nullptr;
  if (!is_iterable(container)) {
    throw TemplateError(fmt::format("argument of type '{}' is not iterable", type_name(container)));
  }
  const std::vector<Value> items = iterate(container, budget);
  return std::any_of(items.begin(), items.end(),
                     [&](const Value& each) { return equals(each, wanted, budget); });
}

Value arithmetic(std::string_view op, const Value& left, const Value& right, Budget& budget) {
  const auto a = left.as_integer(), b = right.as_integer();
  if (a && b) return integer_arithmetic(op, *a, *b);
  if (left.as_number() && right.as_number()) {
    return float_arithmetic(op, *left.as_number(), *right.as_number());
  }
  if (op == "+") {
    if (left.as_text() && right.as_text()) return add_texts(left, right, budget);
    const Sequence *one = left.as_sequence(), *two = right.as_sequence();
    if (is_plain_sequence(one) && is_plain_sequence(two) && one->kind == two->kind) {
      return add_sequences(*one, *two, budget);
    }
    if (left.as_text() && !right.is_undefined()) {
      throw TemplateError(
          fmt::format("can only concatenate str (not \"{}\") to str", type_name(right)));
    }
  }
  if (op == "*") {
    if (b && (left.as_text() || is_plain_sequence(left.as_sequence()))) {
      return repeat(left, *b, budget);
    }
    if (a && (right.as_text() || is_plain_sequence(right.as_sequence()))) {
      return repeat(right, *a, budget);
    }
  }
  if (op == "%" && left.as_text()) {
    throw TemplateError("formatting a string with % is not supported; use ~");
  }
  fail_operands(op, left, right);
}

Value negate(const Value& value) {
  if (const auto integer = value.as_integer()) return integer_arithmetic("-", 0, *integer);
  if (const auto number = value.as_number()) return Value(-*number);
  require_defined(value);
  throw TemplateError(fmt::format("bad operand type for unary -: '{}'", type_name(value)));
}

Value positive(const Value& value) {
  if (const auto integer = value.as_integer()) return Value(*integer);
  if (value.as_number()) return value;
  require_defined(value);
  throw TemplateError(fmt::format("bad operand type for unary +: '{}'", type_name(value)));
}

std::vector<Value> iterate(const Value& value, Budget& budget) {
  if (value.is_undefined()) return {};
  budget.step(weight(value));
  if (const Sequence* sequence = value.as_sequence()) {
    if (sequence->kind == Sequence::Kind::kIterator) {
      if (sequence->walked) return {};
      sequence->walked = true;
    }
    return sequence->items;
  }
  std::vector<Value> items;
  if (const Dict* dict = value.as_dict()) {
    for (const auto& entry : dict->entries) items.push_back(entry.first);
    return items;
  }
  if (const std::string* text = value.as_text()) {
    budget.step(text->size());
    for (std::size_t i = 0; i < text->size();) {
      const std::size_t start = i;
      next_code_point(*text, i);
      items.emplace_back(text->substr(start, i - start));
    }
    return items;
  }
  throw TemplateError(fmt::format("'{}' object is not iterable", type_name(value)));
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.as_sequence() || value.as_dict() || value.as_text();
}

std::size_t length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const std::string* text = value.as_text()) return count_code_points(*text);
  if (const Dict* dict = value.as_dict()) return dict->entries.size();
  const Sequence* sequence = value.as_sequence();
  if (sequence && sequence->kind != Sequence::Kind::kIterator) return sequence->items.size();
  if (const LoopState* loop = value.as_loop()) return loop->items->size();
  throw TemplateError(fmt::format("object of type '{}' has no len()", type_name(value)));
}

Value item(const Value& value, const Value& key) {
  require_defined(value);
  if (const std::string* text = value.as_text()) return character(*text, key, value);
  if (const Dict* dict = value.as_dict()) {
    const Value* found = key.as_sequence() || key.as_dict() ? nullptr : dict->find(key);
    return found ? *found : Value::undefined(missing_key(value, key));
  }
  const Sequence* sequence = value.as_sequence();
  const bool indexed =
      is_plain_sequence(sequence) || (sequence && sequence->kind == Sequence::Kind::kRange);
  if (indexed && key.as_integer()) {
    bool inside = false;
    const std::size_t i = wrapped(*key.as_integer(), sequence->items.size(), inside);
    if (inside) return sequence->items[i];
  }
  return Value::undefined(missing_key(value, key));
}

Value slice(const Value& value, const Value& start, const Value& stop, const Value& step,
            Budget& budget) {
  require_defined(value);
  budget.step(weight(value));
  if (const std::string* text = value.as_text()) {
    budget.step(text->size() / 16);
    const std::vector<std::size_t> starts = character_starts(*text);
    std::string out;
    for (const std::size_t i : slice_positions(starts.size() - 1, start, stop, step)) {
      out.append(*text, starts[i], starts[i + 1] - starts[i]);
    }
    return Value(std::move(out));
  }
  const Sequence* sequence = value.as_sequence();
  const bool indexed =
      is_plain_sequence(sequence) || (sequence && sequence->kind == Sequence::Kind::kRange);
  if (!indexed) {
    throw TemplateError(value.as_dict()
                            ? "unhashable type: 'slice'"
                            : fmt::format("'{}' object is not subscriptable", type_name(value)));
  }
  std::vector<Value> items;
  for (const std::size_t i : slice_positions(sequence->items.size(), start, stop, step)) {
    items.push_back(sequence->items[i]);
  }
  return same_kind(*sequence, std::move(items));
}

Value replaced_text(const std::string& text, const std::string& from, const std::string& to,
                    std::int64_t count, Budget& budget) {
  // An upper bound before anything is built.
  const std::size_t places = from.empty() ? text.size() + 1 : text.size() / from.size();
  std::size_t growth = 0;
  if (__builtin_mul_overflow(places, to.size(), &growth)) growth = kMaxTextBytes;
  if (text.size() + growth <= kMaxTextBytes) {
    budget.text(text.size());
  } else {  // count exactly what the bound says too roughly
    std::size_t found = from.empty() ? places : 0;
    for (std::size_t i = text.find(from); !from.empty() && i != std::string::npos;
         i = text.find(from, i + from.size())) {
      ++found;
    }
    if (count >= 0) found = std::min(found, static_cast<std::size_t>(count));
    if (__builtin_mul_overflow(found, to.size(), &growth)) growth = kMaxTextBytes + 1;
    budget.text(std::min(growth, kMaxTextBytes + 1));
  }
  return Value(replace(text, from, to, count));
}

std::uint64_t weight(const Value& value) {
  if (const std::string* text = value.as_text()) return text->size() / 64;
  if (const Sequence* sequence = value.as_sequence()) return sequence->items.size() / 16;
  if (const Dict* dict = value.as_dict()) return dict->entries.size() / 16;
  return 0;
}

}  // namespace limbic::data::jinja
