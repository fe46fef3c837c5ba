// Methods of strings, dicts, lists and `loop`.
#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "data/template/jinja/library/registry.h"
#include "data/template/jinja/operations.h"
#include "data/template/jinja/printing.h"
#include "data/template/jinja/text.h"

namespace limbic::data::jinja {
namespace {

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return is_one_of(name, std::span(names.begin(), names.size()));
}

// Everything that Python's types have, so that `d.update` is never taken for an item.
constexpr std::string_view kTextMethods[] = {
    "capitalize",   "casefold",    "center",    "count",      "encode",       "endswith",
    "expandtabs",   "find",        "format",    "format_map", "index",        "isalnum",
    "isalpha",      "isascii",     "isdecimal", "isdigit",    "isidentifier", "islower",
    "isnumeric",    "isprintable", "isspace",   "istitle",    "isupper",      "join",
    "ljust",        "lower",       "lstrip",    "maketrans",  "partition",    "removeprefix",
    "removesuffix", "replace",     "rfind",     "rindex",     "rjust",        "rpartition",
    "rsplit",       "rstrip",      "split",     "splitlines", "startswith",   "strip",
    "swapcase",     "title",       "translate", "upper",      "zfill"};
constexpr std::string_view kDictMethods[] = {"clear",      "copy",   "fromkeys", "get",
                                             "items",      "keys",   "pop",      "popitem",
                                             "setdefault", "update", "values"};
constexpr std::string_view kListMethods[] = {"append", "clear",   "copy",   "count",
                                             "extend", "index",   "insert", "pop",
                                             "remove", "reverse", "sort"};
constexpr std::string_view kTupleMethods[] = {"count", "index"};
constexpr std::string_view kChangingMethods[] = {"append",     "clear",   "extend", "insert",
                                                 "pop",        "popitem", "remove", "reverse",
                                                 "setdefault", "sort",    "update"};

[[noreturn]] void fail_unknown(const Value& value, std::string_view name) {
  throw TemplateError(
      fmt::format("method '{}' of '{}' is not supported in templates", name, type_name(value)));
}

const std::string& text_argument(std::string_view method, const std::optional<Value>& value) {
  if (value && value->as_text()) return *value->as_text();
  if (value) require_defined(*value);
  throw TemplateError(
      fmt::format("{}() wants a str, got {}", method, value ? type_name(*value) : "nothing"));
}

// Absent and none: no text.
const std::string* optional_text(std::string_view method, const std::optional<Value>& value) {
  return !value || value->is_none() ? nullptr : &text_argument(method, value);
}

std::int64_t integer_or(std::string_view method, const std::optional<Value>& value,
                        std::int64_t otherwise) {
  if (!value) return otherwise;
  if (const auto integer = value->as_integer()) return *integer;
  require_defined(*value);
  throw TemplateError(fmt::format("{}() wants an int, got {}", method, type_name(*value)));
}

Value texts(const std::vector<std::string>& parts, Budget& budget) {
  budget.step(parts.size());
  std::vector<Value> items(parts.begin(), parts.end());
  return Value::list(std::move(items));
}

Value split_method(const std::string& text, std::string_view name, const Args& args,
                   Budget& budget) {
  const auto bound = args.bind(name, {"sep", "maxsplit"});
  const std::string* separator = optional_text(name, bound[0]);
  if (separator && separator->empty()) throw TemplateError("empty separator");
  const std::int64_t limit = integer_or(name, bound[1], -1);
  return texts(
      name == "split" ? split(text, separator, limit) : split_from_right(text, separator, limit),
      budget);
}

Value strip_method(const Value& value, std::string_view name, const Args& args) {
  const auto bound = args.bind(name, {"chars"});
  const std::string* characters = optional_text(name, bound[0]);
  const std::string& text = *value.as_text();
  std::string result(name == "strip"    ? strip(text, characters)
                     : name == "lstrip" ? strip_left(text, characters)
                                        : strip_right(text, characters));
  return value.is_markup() ? Value::markup(std::move(result)) : Value(std::move(result));
}

// The part [start:stop] that find, startswith and their like look at.
struct Window {
  std::string text;
  std::int64_t start = 0;
  bool valid = true;  // false: it starts behind the end, where not even "" is found
};

Window window_of(const std::string& text, const std::optional<Value>& start,
                 const std::optional<Value>& stop, Budget& budget) {
  const bool open = (!start || start->is_none()) && (!stop || stop->is_none());
  if (open) return {text, 0, true};
  const auto size = static_cast<std::int64_t>(count_code_points(text));
  std::int64_t begin = start && !start->is_none() ? integer_or("find", start, 0) : 0;
  if (begin < 0) begin = std::max<std::int64_t>(begin + size, 0);
  const Value part = slice(Value(text), Value(begin), stop.value_or(Value()), Value(), budget);
  return {*part.as_text(), begin, begin <= size};
}

Value affix_method(const std::string& text, std::string_view name, const Args& args,
                   Budget& budget) {
  const auto bound = args.bind(name, {"prefix", "start", "end"});
  if (!bound[0]) throw TemplateError(fmt::format("{}() wants a str", name));
  const Window window = window_of(text, bound[1], bound[2], budget);
  const auto matches = [&](const Value& affix) {
    const std::string& part = text_argument(name, affix);
    if (!window.valid) return false;
    return name == "startswith" ? window.text.starts_with(part) : window.text.ends_with(part);
  };
  const Sequence* choices = bound[0]->as_sequence();
  if (!choices || choices->kind != Sequence::Kind::kTuple) return Value(matches(*bound[0]));
  return Value(std::any_of(choices->items.begin(), choices->items.end(), matches));
}

Value find_method(const std::string& text, std::string_view name, const Args& args,
                  Budget& budget) {
  const auto bound = args.bind(name, {"sub", "start", "end"});
  const std::string& part = text_argument(name, bound[0]);
  const Window window = window_of(text, bound[1], bound[2], budget);
  if (name == "count") {
    if (!window.valid) return Value(std::int64_t{0});
    if (part.empty()) return Value::size(count_code_points(window.text) + 1);
    std::int64_t count = 0;
    for (std::size_t i = window.text.find(part); i != std::string::npos;
         i = window.text.find(part, i + part.size())) {
      ++count;
    }
    return Value(count);
  }
  const bool from_right = name.starts_with('r');
  const std::size_t place = from_right ? window.text.rfind(part) : window.text.find(part);
  if (place != std::string::npos && window.valid) {
    const std::size_t before = count_code_points(std::string_view(window.text).substr(0, place));
    return Value(window.start + static_cast<std::int64_t>(before));
  }
  if (name.ends_with("index")) throw TemplateError("substring not found");
  return Value(std::int64_t{-1});
}

Value partition_method(const std::string& text, std::string_view name, const Args& args) {
  const auto bound = args.bind(name, {"sep"});
  const std::string& separator = text_argument(name, bound[0]);
  if (separator.empty()) throw TemplateError("empty separator");
  const bool from_right = name.starts_with('r');
  const std::size_t place = from_right ? text.rfind(separator) : text.find(separator);
  if (place == std::string::npos) {
    return from_right ? Value::tuple({Value(""), Value(""), Value(text)})
                      : Value::tuple({Value(text), Value(""), Value("")});
  }
  return Value::tuple({Value(text.substr(0, place)), Value(separator),
                       Value(text.substr(place + separator.size()))});
}

Value join_method(const std::string& text, const Args& args, Budget& budget) {
  const auto bound = args.bind("join", {"iterable"});
  if (!bound[0]) throw TemplateError("join() wants an iterable");
  std::string out;
  bool is_first = true;
  for (const Value& part : iterate(*bound[0], budget)) {
    if (!is_first) out += text;
    is_first = false;
    out += text_argument("join", part);
    budget.text(out.size());
  }
  return Value(std::move(out));
}

Value replace_method(const std::string& text, const Args& args, Budget& budget) {
  const auto bound = args.bind("replace", {"old", "new", "count"});
  return replaced_text(text, text_argument("replace", bound[0]), text_argument("replace", bound[1]),
                       integer_or("replace", bound[2], -1), budget);
}

Value remove_affix(const std::string& text, std::string_view name, const Args& args) {
  const auto bound = args.bind(name, {"affix"});
  const std::string& affix = text_argument(name, bound[0]);
  if (name == "removeprefix") {
    return Value(text.starts_with(affix) ? text.substr(affix.size()) : text);
  }
  return Value(text.ends_with(affix) ? text.substr(0, text.size() - affix.size()) : text);
}

Value pad_method(const std::string& text, std::string_view name, const Args& args, Budget& budget) {
  const auto bound = args.bind(name, {"width", "fillchar"});
  const std::int64_t width = integer_or(name, bound[0], 0);
  const std::string fill = name == "zfill" ? "0" : bound[1] ? text_argument(name, bound[1]) : " ";
  if (count_code_points(fill) != 1) {
    throw TemplateError("The fill character must be exactly one character long");
  }
  const auto size = static_cast<std::int64_t>(count_code_points(text));
  if (width <= size) return Value(text);
  budget.text(static_cast<std::size_t>(width) * fill.size());
  std::string padding;
  for (std::int64_t i = size; i < width; ++i) padding += fill;
  if (name == "ljust") return Value(text + padding);
  const bool has_sign = name == "zfill" && (text.starts_with('-') || text.starts_with('+'));
  return has_sign ? Value(text.substr(0, 1) + padding + text.substr(1)) : Value(padding + text);
}

// Methods without arguments.
std::optional<Value> plain_text_method(const std::string& text, std::string_view name,
                                       Budget& budget) {
  const auto result = [&](std::string made) {
    budget.text(made.size());
    return Value(std::move(made));
  };
  if (name == "upper") return result(to_upper(text));
  if (name == "lower") return result(to_lower(text));
  if (name == "capitalize") return result(capitalize(text));
  if (name == "title") return result(title_letters(text));
  if (name == "isalpha") return Value(all_letters(text));
  if (name == "isdigit" || name == "isdecimal") return Value(all_digits(text));
  if (name == "isalnum") return Value(all_letters_or_digits(text));
  if (name == "isspace") return Value(all_spaces(text));
  if (name == "isupper") return Value(is_upper(text));
  if (name == "islower") return Value(is_lower(text));
  return std::nullopt;
}

Value call_text_method(const Value& value, std::string_view name, const Args& args,
                       Budget& budget) {
  const std::string& text = *value.as_text();
  if (is_one_of(name, {"split", "rsplit"})) return split_method(text, name, args, budget);
  if (is_one_of(name, {"strip", "lstrip", "rstrip"})) return strip_method(value, name, args);
  if (is_one_of(name, {"startswith", "endswith"})) return affix_method(text, name, args, budget);
  if (is_one_of(name, {"find", "rfind", "index", "rindex", "count"})) {
    return find_method(text, name, args, budget);
  }
  if (is_one_of(name, {"partition", "rpartition"})) return partition_method(text, name, args);
  if (is_one_of(name, {"removeprefix", "removesuffix"})) return remove_affix(text, name, args);
  if (is_one_of(name, {"ljust", "rjust", "zfill"})) return pad_method(text, name, args, budget);
  if (name == "join") return join_method(text, args, budget);
  if (name == "replace") return replace_method(text, args, budget);
  if (name == "splitlines") {
    const auto bound = args.bind(name, {"keepends"});
    return texts(split_lines(text, bound[0] && truthy(*bound[0])), budget);
  }
  const std::optional<Value> plain = plain_text_method(text, name, budget);
  if (!plain) fail_unknown(value, name);
  args.bind(name, {});
  return *plain;
}

Value view(Sequence::Kind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>(*Value::list(std::move(items)).as_sequence());
  sequence->kind = kind;
  return Value(Value::Data(std::shared_ptr<const Sequence>(std::move(sequence))));
}

Value call_dict_method(const Value& value, std::string_view name, const Args& args) {
  const Dict& dict = *value.as_dict();
  if (name == "get") {
    const auto bound = args.bind("get", {"key", "default"});
    if (!bound[0]) throw TemplateError("get expected at least 1 argument, got 0");
    const Value* found = dict.find(*bound[0]);
    return found ? *found : bound[1].value_or(Value());
  }
  if (name == "fromkeys") fail_unknown(value, name);
  args.bind(name, {});
  if (name == "copy") return value;  // values never change
  std::vector<Value> items;
  for (const auto& [key, held] : dict.entries) {
    items.push_back(name == "keys" ? key : name == "values" ? held : Value::tuple({key, held}));
  }
  return view(name == "keys"     ? Sequence::Kind::kDictKeys
              : name == "values" ? Sequence::Kind::kDictValues
                                 : Sequence::Kind::kDictItems,
              std::move(items));
}

Value call_list_method(const Value& value, std::string_view name, const Args& args,
                       Budget& budget) {
  if (name == "copy") {
    args.bind(name, {});
    return value;
  }
  const auto bound = args.bind(name, {"value"});
  if (!bound[0]) throw TemplateError(fmt::format("{}() wants a value", name));
  const std::vector<Value>& items = value.as_sequence()->items;
  std::int64_t count = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!equals(items[i], *bound[0], budget)) continue;
    if (name == "index") return Value::size(i);
    ++count;
  }
  if (name == "index") throw TemplateError(fmt::format("{} is not in list", repr(*bound[0])));
  return Value(count);
}

Value call_loop_method(const LoopState& loop, std::string_view name, const Args& args,
                       Budget& budget) {
  if (name == "cycle") {
    if (args.positional.empty()) throw TemplateError("no items for cycling given");
    return args.positional[loop.index % args.positional.size()];
  }
  std::optional<std::vector<Value>>& before = *loop.last_changed;
  const bool same = before && equals(Value::tuple(*before), Value::tuple(args.positional), budget);
  if (!same) before = args.positional;
  return Value(!same);
}

}  // namespace

bool has_method(const Value& value, std::string_view name) {
  if (value.as_text()) return is_one_of(name, kTextMethods);
  if (value.as_dict()) return is_one_of(name, kDictMethods);
  if (value.as_loop()) return is_one_of(name, {"cycle", "changed"});
  const Sequence* sequence = value.as_sequence();
  if (!sequence) return false;
  if (sequence->kind == Sequence::Kind::kList) return is_one_of(name, kListMethods);
  return sequence->kind == Sequence::Kind::kTuple && is_one_of(name, kTupleMethods);
}

Value call_method(const Value& value, std::string_view name, const Args& args, Budget& budget) {
  if (const LoopState* loop = value.as_loop()) return call_loop_method(*loop, name, args, budget);
  if (value.as_text()) return call_text_method(value, name, args, budget);
  if (is_one_of(name, kChangingMethods)) {
    throw TemplateError(
        fmt::format("access to attribute '{}' of '{}' object is unsafe", name, type_name(value)));
  }
  if (value.as_dict()) return call_dict_method(value, name, args);
  return call_list_method(value, name, args, budget);
}

}  // namespace limbic::data::jinja
