#include "data/template/jinja/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "data/template/jinja/operations.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data::jinja {
namespace {

template <class T>
const T* pointer_in(const Value::Data& data) {
  const auto* held = std::get_if<std::shared_ptr<const T>>(&data);
  return held ? held->get() : nullptr;
}

int nesting_above(const Value& value) {
  const Sequence* sequence = value.as_sequence();
  const Dict* dict = value.as_dict();
  const int nesting = 1 + (sequence ? sequence->nesting : dict ? dict->nesting : 0);
  // Deeper values could not be destroyed on a thread's stack.
  if (nesting > kMaxDepth) throw TemplateError(DepthGuard::message());
  return nesting;
}

Value make_sequence(Sequence::Kind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  for (const Value& item : items) {
    sequence->nesting = std::max(sequence->nesting, nesting_above(item));
  }
  sequence->kind = kind;
  sequence->items = std::move(items);
  return Value(Value::Data(std::shared_ptr<const Sequence>(std::move(sequence))));
}

// Equal keys of Python's dict have equal texts here (1, 1.0 and True are one key).
std::string key_text(const Value& key) {
  if (const std::string* text = key.as_text()) return "s" + *text;
  if (key.is_none()) return "n";
  if (key.is_undefined()) return "u";
  if (const auto integer = key.as_integer()) return fmt::format("i{}", *integer);
  if (const auto number = key.as_number()) {
    const bool whole = *number == static_cast<double>(static_cast<std::int64_t>(*number));
    return whole ? fmt::format("i{}", static_cast<std::int64_t>(*number))
                 : fmt::format("f{}", *number);
  }
  const Sequence* sequence = key.as_sequence();
  if (!sequence || sequence->kind != Sequence::Kind::kTuple) {
    throw TemplateError(fmt::format("unhashable type: '{}'", type_name(key)));
  }
  std::string out = "t";
  for (const Value& item : sequence->items) {
    const std::string part = key_text(item);
    out += fmt::format("{}:{}", part.size(), part);
    if (out.size() > kMaxTextBytes) throw TemplateError("a key is larger than 64 MB (limit)");
  }
  return out;
}

Value text_from_json(const std::string& text) {
  if (find_invalid_utf8(text) != std::string::npos) {
    throw TemplateError("got text that is not well-formed UTF-8");
  }
  return Value(text);
}

Value convert(const Json& json, int& depth) {
  DepthGuard guard(depth);
  switch (json.type()) {
    case Json::value_t::null:
      return Value();
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
      return Value(json.get<std::int64_t>());
    case Json::value_t::number_unsigned: {
      const auto value = json.get<std::uint64_t>();
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        throw TemplateError(fmt::format("got {}, want an integer of 64 bits", value));
      }
      return Value(static_cast<std::int64_t>(value));
    }
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string:
      return text_from_json(json.get_ref<const std::string&>());
    case Json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(convert(item, depth));
      return Value::list(std::move(items));
    }
    case Json::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) {
        dict.set(text_from_json(key), convert(item, depth));
      }
      return Value::dict(std::move(dict));
    }
    default:
      throw TemplateError("got binary data, want a JSON value");
  }
}

}  // namespace

Value Value::undefined(std::string reason) {
  return Value(Data(Undefined{std::make_shared<const std::string>(std::move(reason))}));
}

Value Value::markup(std::string text) {
  return Value(Data(Text{std::make_shared<const std::string>(std::move(text)), true}));
}

Value Value::list(std::vector<Value> items) {
  return make_sequence(Sequence::Kind::kList, std::move(items));
}

Value Value::tuple(std::vector<Value> items) {
  return make_sequence(Sequence::Kind::kTuple, std::move(items));
}

Value Value::dict(Dict entries) {
  return Value(Data(std::shared_ptr<const Dict>(std::make_shared<Dict>(std::move(entries)))));
}

Value Value::iterator(std::vector<Value> items) {
  return make_sequence(Sequence::Kind::kIterator, std::move(items));
}

Value Value::from_json(const Json& json) {
  int depth = 0;
  return convert(json, depth);
}

const std::string* Value::as_text() const {
  const auto* text = std::get_if<Text>(&data_);
  return text ? text->bytes.get() : nullptr;
}

bool Value::is_markup() const {
  const auto* text = std::get_if<Text>(&data_);
  return text && text->markup;
}

const Sequence* Value::as_sequence() const { return pointer_in<Sequence>(data_); }
const Dict* Value::as_dict() const { return pointer_in<Dict>(data_); }
const Function* Value::as_function() const { return pointer_in<Function>(data_); }
const LoopState* Value::as_loop() const { return pointer_in<LoopState>(data_); }

Namespace* Value::as_namespace() const {
  const auto* held = std::get_if<std::shared_ptr<Namespace>>(&data_);
  return held ? held->get() : nullptr;
}

std::optional<std::int64_t> Value::as_integer() const {
  if (const auto* integer = std::get_if<std::int64_t>(&data_)) return *integer;
  if (const bool* flag = as_bool()) return *flag ? 1 : 0;
  return std::nullopt;
}

std::optional<double> Value::as_number() const {
  if (const auto* number = std::get_if<double>(&data_)) return *number;
  if (const auto integer = as_integer()) return static_cast<double>(*integer);
  return std::nullopt;
}

void Dict::set(const Value& key, Value value) {
  nesting = std::max(nesting, nesting_above(value));
  const auto [place, is_new] = index_.try_emplace(key_text(key), entries.size());
  if (is_new) {
    entries.emplace_back(key, std::move(value));
  } else {
    entries[place->second].second = std::move(value);
  }
}

const Value* Dict::find(const Value& key) const {
  const auto place = index_.find(key_text(key));
  return place == index_.end() ? nullptr : &entries[place->second].second;
}

const Value* Dict::find_name(std::string_view key) const {
  const auto place = index_.find(std::string("s").append(key));
  return place == index_.end() ? nullptr : &entries[place->second].second;
}

std::vector<std::optional<Value>> Args::bind(
    std::string_view function, std::initializer_list<std::string_view> parameters) const {
  if (positional.size() > parameters.size()) {
    throw TemplateError(fmt::format("{}() takes at most {} arguments, got {}", function,
                                    parameters.size(), positional.size()));
  }
  std::vector<std::optional<Value>> bound(parameters.size());
  for (std::size_t i = 0; i < positional.size(); ++i) bound[i] = positional[i];
  for (const auto& [name, value] : named) {
    const auto place = std::find(parameters.begin(), parameters.end(), name);
    if (place == parameters.end()) {
      throw TemplateError(
          fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
    }
    std::optional<Value>& slot = bound[static_cast<std::size_t>(place - parameters.begin())];
    if (slot) {
      throw TemplateError(
          fmt::format("{}() got multiple values for argument '{}'", function, name));
    }
    slot = value;
  }
  return bound;
}

Value LoopState::attribute(std::string_view name) const {
  const std::size_t count = items->size();
  if (name == "index") return Value::size(index + 1);
  if (name == "index0") return Value::size(index);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == count);
  if (name == "length") return Value::size(count);
  if (name == "revindex") return Value::size(count - index);
  if (name == "revindex0") return Value::size(count - index - 1);
  if (name == "depth") return Value(depth);
  if (name == "depth0") return Value(depth - 1);
  if (name == "previtem") {
    return index > 0 ? (*items)[index - 1] : Value::undefined("there is no previous item");
  }
  if (name == "nextitem") {
    return index + 1 < count ? (*items)[index + 1] : Value::undefined("there is no next item");
  }
  throw TemplateError(fmt::format("loop has no attribute '{}' here", name));
}

}  // namespace limbic::data::jinja
