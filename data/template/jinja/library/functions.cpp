#include "data/template/jinja/library/functions.h"

#include <fmt/format.h>

#include <ctime>

#include "data/template/jinja/operations.h"
#include "data/template/jinja/printing.h"

namespace limbic::data::jinja {
namespace {

constexpr std::int64_t kMaxRange = 100'000;  // Jinja's sandbox has the same

std::int64_t integer_argument(const Value& value) {
  if (const auto integer = value.as_integer()) return *integer;
  require_defined(value);
  throw TemplateError(
      fmt::format("'{}' object cannot be interpreted as an integer", type_name(value)));
}

Value range(const Args& args) {
  if (args.positional.empty()) throw TemplateError("range expected at least 1 argument, got 0");
  const auto bound = args.bind("range", {"start", "stop", "step"});
  std::int64_t start = integer_argument(*bound[0]), stop = 0, step = 1;
  if (bound[1]) {
    stop = integer_argument(*bound[1]);
  } else {
    std::swap(start, stop);
  }
  if (bound[2]) step = integer_argument(*bound[2]);
  if (step == 0) throw TemplateError("range() arg 3 must not be zero");
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = Sequence::Kind::kRange;
  sequence->label = step == 1 ? fmt::format("range({}, {})", start, stop)
                              : fmt::format("range({}, {}, {})", start, stop, step);
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    sequence->items.emplace_back(i);
    if (static_cast<std::int64_t>(sequence->items.size()) > kMaxRange) {
      throw TemplateError("range() gives more than 100000 numbers (limit)");
    }
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value(Value::Data(std::shared_ptr<const Sequence>(std::move(sequence))));
}

Dict dict_of(std::string_view function, const Args& args, Budget& budget) {
  Dict dict;
  if (args.positional.size() > 1) {
    throw TemplateError(fmt::format("{}() expected at most 1 argument", function));
  }
  if (!args.positional.empty()) {
    const Value& source = args.positional[0];
    if (const Dict* given = source.as_dict()) {
      dict = *given;
    } else {
      for (const Value& pair : iterate(source, budget)) {
        const std::vector<Value> parts = iterate(pair, budget);
        if (parts.size() != 2) throw TemplateError("a dict is made of pairs");
        dict.set(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : args.named) dict.set(Value(name), value);
  return dict;
}

Value strftime_now(const Args& args) {
  const auto bound = args.bind("strftime_now", {"format"});
  const std::string* format = bound[0] ? bound[0]->as_text() : nullptr;
  if (!format) throw TemplateError("strftime_now() wants a format");
  if (format->empty()) return Value("");
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  // The space makes an empty result (%p in some locales) differ from one that did not fit.
  const std::string padded = *format + " ";
  std::string out(256 + 16 * padded.size(), '\0');
  const std::size_t size = std::strftime(out.data(), out.size(), padded.c_str(), &local);
  if (size == 0) throw TemplateError("strftime_now() makes too long a text");
  out.resize(size - 1);
  return Value(std::move(out));
}

Value raise_exception(const Args& args) {
  const auto bound = args.bind("raise_exception", {"message"});
  throw TemplateError(bound[0] ? to_text(*bound[0]) : "the template raised an exception");
}

}  // namespace

Value make_function(std::string name, std::function<Value(const Args&)> call) {
  auto function = std::make_shared<const Function>(Function{std::move(name), std::move(call)});
  return Value(Value::Data(std::move(function)));
}

Value find_function(std::string_view name, Budget& budget, Namespaces& namespaces) {
  if (name == "range") {
    return make_function("range", [&budget](const Args& args) {
      Value numbers = range(args);
      budget.step(weight(numbers));
      return numbers;
    });
  }
  if (name == "namespace") {
    return make_function("namespace", [&](const Args& args) {
      budget.step(100);  // they stay until the end
      auto space = std::make_shared<Namespace>(Namespace{dict_of("namespace", args, budget)});
      namespaces.push_back(space);
      return Value(Value::Data(std::move(space)));
    });
  }
  if (name == "dict") {
    return make_function(
        "dict", [&](const Args& args) { return Value::dict(dict_of("dict", args, budget)); });
  }
  if (name == "raise_exception") return make_function("raise_exception", raise_exception);
  if (name == "strftime_now") return make_function("strftime_now", strftime_now);
  return Value::undefined(fmt::format("'{}' is undefined", name));
}

}  // namespace limbic::data::jinja
