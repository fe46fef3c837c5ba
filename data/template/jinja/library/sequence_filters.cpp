#include "data/template/jinja/library/sequence_filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "data/template/jinja/library/registry.h"
#include "data/template/jinja/operations.h"
#include "data/template/jinja/printing.h"
#include "data/template/jinja/text.h"

namespace limbic::data::jinja {
namespace {

using Items = std::vector<Value>;

bool flag_or(const std::optional<Value>& value, bool otherwise) {
  return value ? truthy(*value) : otherwise;
}

// `a.b.0` of an item, as `attribute=` of several filters means it; `otherwise` stands in for every
// part that is not there.
Value attribute_of(const Value& value, const Value& path,
                   const std::optional<Value>& otherwise = {}) {
  if (path.as_integer()) {
    Value found = item(value, path);
    return found.is_undefined() && otherwise ? *otherwise : found;
  }
  const std::string* text = path.as_text();
  if (!text) throw TemplateError("attribute= wants a name or an index");
  const std::string dot = ".";
  Value result = value;
  for (const std::string& part : split(*text, &dot, -1)) {
    std::int64_t index = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = parsed.ec == std::errc{} && parsed.ptr == part.data() + part.size();
    const Namespace* space = result.as_namespace();
    const Value* held = space ? space->attributes.find_name(part) : nullptr;
    result = held ? *held : item(result, is_index ? Value(index) : Value(part));
    if (result.is_undefined() && otherwise) result = *otherwise;
  }
  return result;
}

// What comparing filters look at: the attribute, in lower case unless case counts.
Value sort_key(const Value& value, const std::optional<Value>& attribute, bool case_sensitive) {
  Value key = attribute && !attribute->is_none() ? attribute_of(value, *attribute) : value;
  if (!case_sensitive && key.as_text()) return Value(to_lower(*key.as_text()));
  return key;
}

void stable_sort_by_key(std::vector<std::pair<Value, Value>>& keyed, bool reverse, Budget& budget) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(b.first, a.first, "<", budget) : less(a.first, b.first, "<", budget);
  });
}

// The arguments behind the first `count`.
Args arguments_from(const Args& args, std::size_t count) {
  Args rest = args;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

// select, reject, selectattr and rejectattr.
Value select_by(const Value& input, const Args& args, Budget& budget, bool by_attribute,
                bool wanted) {
  const std::size_t skipped = by_attribute ? 1 : 0;
  if (args.positional.size() < skipped) throw TemplateError("Missing parameter for attribute name");
  TestFunction test = nullptr;
  Args rest;
  if (args.positional.size() > skipped) {
    const std::string name = to_text(args.positional[skipped]);
    test = find_test(name);
    if (!test) throw TemplateError(fmt::format("no test named '{}'", name));
    rest = arguments_from(args, skipped + 1);
  }
  Items chosen;
  for (Value& each : iterate(input, budget)) {
    budget.step();
    const Value tested = by_attribute ? attribute_of(each, args.positional[0]) : each;
    const bool passed = test ? test(tested, rest, budget) : truthy(tested);
    if (passed == wanted) chosen.push_back(std::move(each));
  }
  return Value::iterator(std::move(chosen));
}

Value extreme(const Value& input, const Args& args, Budget& budget, bool want_less) {
  const auto bound = args.bind(want_less ? "min" : "max", {"case_sensitive", "attribute"});
  const bool case_sensitive = flag_or(bound[0], false);
  std::optional<Value> best, best_key;
  for (Value& each : iterate(input, budget)) {
    Value key = sort_key(each, bound[1], case_sensitive);
    const bool better = !best || (want_less ? less(key, *best_key, "<", budget)
                                            : less(*best_key, key, ">", budget));
    if (!better) continue;
    best_key = std::move(key);
    best = std::move(each);
  }
  return best ? *best : Value::undefined("No aggregated item, sequence was empty.");
}

}  // namespace

Value dictsort(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("dictsort", {"case_sensitive", "by", "reverse"});
  const std::string by = bound[1] ? to_text(*bound[1]) : "key";
  if (by != "key" && by != "value") {
    throw TemplateError("You can only sort by either \"key\" or \"value\"");
  }
  const Dict* dict = input.as_dict();
  if (!dict) {
    require_defined(input);
    throw TemplateError(fmt::format("'{} object' has no attribute 'items'", type_name(input)));
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : dict->entries) {
    keyed.emplace_back(sort_key(by == "key" ? key : value, {}, flag_or(bound[0], false)),
                       Value::tuple({key, value}));
  }
  stable_sort_by_key(keyed, flag_or(bound[2], false), budget);
  Items items;
  for (auto& entry : keyed) items.push_back(std::move(entry.second));
  return Value::list(std::move(items));
}

Value first(const Value& input, const Args& args, Budget& budget) {
  args.bind("first", {});
  const Items items = iterate(input, budget);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value last(const Value& input, const Args& args, Budget& budget) {
  args.bind("last", {});
  const Sequence* sequence = input.as_sequence();
  if (sequence && sequence->kind == Sequence::Kind::kIterator) {
    throw TemplateError("'generator' object is not reversible");
  }
  const Items items = iterate(input, budget);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value items(const Value& input, const Args& args, Budget&) {
  args.bind("items", {});
  Items pairs;
  if (input.is_undefined()) return Value::iterator({});
  const Dict* dict = input.as_dict();
  if (!dict) throw TemplateError("Can only get item pairs from a mapping.");
  for (const auto& [key, value] : dict->entries) pairs.push_back(Value::tuple({key, value}));
  return Value::iterator(std::move(pairs));
}

Value join(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("join", {"d", "attribute"});
  const std::string separator = bound[0] ? to_text(*bound[0]) : "";
  std::string out;
  bool is_first = true;
  for (const Value& each : iterate(input, budget)) {
    if (!is_first) out += separator;
    is_first = false;
    out += to_text(bound[1] && !bound[1]->is_none() ? attribute_of(each, *bound[1]) : each);
    budget.text(out.size());
  }
  return Value(std::move(out));
}

Value list(const Value& input, const Args& args, Budget& budget) {
  args.bind("list", {});
  return Value::list(iterate(input, budget));
}

Value map(const Value& input, const Args& args, Budget& budget) {
  Items mapped;
  if (args.positional.empty()) {
    const auto bound = args.bind("map", {"attribute", "default"});
    if (!bound[0]) throw TemplateError("map requires a filter argument");
    for (const Value& each : iterate(input, budget)) {
      mapped.push_back(attribute_of(each, *bound[0], bound[1]));
    }
    return Value::iterator(std::move(mapped));
  }
  const std::string name = to_text(args.positional[0]);
  const FilterFunction filter = find_filter(name);
  if (!filter) throw TemplateError(fmt::format("no filter named '{}'", name));
  const Args rest = arguments_from(args, 1);
  for (const Value& each : iterate(input, budget)) {
    budget.step(1 + weight(each));
    mapped.push_back(filter(each, rest, budget));
  }
  return Value::iterator(std::move(mapped));
}

Value select(const Value& input, const Args& args, Budget& budget) {
  return select_by(input, args, budget, false, true);
}
Value reject(const Value& input, const Args& args, Budget& budget) {
  return select_by(input, args, budget, false, false);
}
Value selectattr(const Value& input, const Args& args, Budget& budget) {
  return select_by(input, args, budget, true, true);
}
Value rejectattr(const Value& input, const Args& args, Budget& budget) {
  return select_by(input, args, budget, true, false);
}

Value min_filter(const Value& input, const Args& args, Budget& budget) {
  return extreme(input, args, budget, true);
}
Value max_filter(const Value& input, const Args& args, Budget& budget) {
  return extreme(input, args, budget, false);
}

Value reverse(const Value& input, const Args& args, Budget& budget) {
  args.bind("reverse", {});
  Items reversed = iterate(input, budget);
  std::reverse(reversed.begin(), reversed.end());
  if (!input.as_text()) return Value::iterator(std::move(reversed));
  std::string out;
  for (const Value& character : reversed) out += *character.as_text();
  return Value(std::move(out));
}

Value sort(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("sort", {"reverse", "case_sensitive", "attribute"});
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& each : iterate(input, budget)) {
    Value key = sort_key(each, bound[2], flag_or(bound[1], false));
    keyed.emplace_back(std::move(key), std::move(each));
  }
  stable_sort_by_key(keyed, flag_or(bound[0], false), budget);
  Items sorted;
  for (auto& entry : keyed) sorted.push_back(std::move(entry.second));
  return Value::list(std::move(sorted));
}

Value sum(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("sum", {"attribute", "start"});
  Value total = bound[1].value_or(Value(std::int64_t{0}));
  for (const Value& each : iterate(input, budget)) {
    const bool by_attribute = bound[0] && !bound[0]->is_none();
    total = arithmetic("+", total, by_attribute ? attribute_of(each, *bound[0]) : each, budget);
  }
  return total;
}

Value unique(const Value& input, const Args& args, Budget& budget) {
  const auto bound = args.bind("unique", {"case_sensitive", "attribute"});
  Dict seen;
  Items kept;
  for (Value& each : iterate(input, budget)) {
    const Value key = sort_key(each, bound[1], flag_or(bound[0], false));
    if (seen.find(key)) continue;
    seen.set(key, Value());
    kept.push_back(std::move(each));
  }
  return Value::iterator(std::move(kept));
}

}  // namespace limbic::data::jinja
