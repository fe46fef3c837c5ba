#include "data/template/jinja/printing.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "data/template/jinja/operations.h"
#include "data/template/jinja/text.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data::jinja {
namespace {

void check_size(const std::string& out) {
  if (out.size() > kMaxTextBytes) {
    throw TemplateError("the template makes a text of more than 64 MB (limit)");
  }
}

class ReprWriter {
 public:
  void write(const Value& value) {
    DepthGuard guard(depth_);
    check_size(out);
    if (const std::string* text = value.as_text()) {
      out += value.is_markup() ? fmt::format("Markup({})", quote(*text)) : quote(*text);
    } else if (const Sequence* sequence = value.as_sequence()) {
      write_sequence(*sequence);
    } else if (const Dict* dict = value.as_dict()) {
      write_dict(*dict);
    } else if (const Namespace* space = value.as_namespace()) {
      out += "<Namespace ";
      write_dict(space->attributes);
      out += '>';
    } else if (value.is_undefined()) {
      out += "Undefined";
    } else {
      out += to_text(value);
    }
  }

  std::string out;

 private:
  void write_sequence(const Sequence& sequence) {
    switch (sequence.kind) {
      case Sequence::Kind::kList:
        return write_items(sequence, "[", "]");
      case Sequence::Kind::kTuple:
        return write_items(sequence, "(", sequence.items.size() == 1 ? ",)" : ")");
      case Sequence::Kind::kRange:
        out += sequence.label;
        return;
      case Sequence::Kind::kDictKeys:
        return write_items(sequence, "dict_keys([", "])");
      case Sequence::Kind::kDictValues:
        return write_items(sequence, "dict_values([", "])");
      case Sequence::Kind::kDictItems:
        return write_items(sequence, "dict_items([", "])");
      case Sequence::Kind::kIterator:
        throw TemplateError("got an iterator, want a value that prints; put `| list` behind it");
    }
  }

  void write_items(const Sequence& sequence, const char* open, const char* close) {
    out += open;
    bool first = true;
    for (const Value& item : sequence.items) {
      if (!first) out += ", ";
      first = false;
      write(item);
    }
    out += close;
  }

  void write_dict(const Dict& dict) {
    out += '{';
    bool first = true;
    for (const auto& [key, value] : dict.entries) {
      if (!first) out += ", ";
      first = false;
      write(key);
      out += ": ";
      write(value);
    }
    out += '}';
  }

  int depth_ = 0;
};

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value) {
    DepthGuard guard(depth_);
    check_size(out);
    if (value.is_none()) {
      out += "null";
    } else if (const bool* flag = value.as_bool()) {
      out += *flag ? "true" : "false";
    } else if (const std::string* text = value.as_text()) {
      write_text(*text);
    } else if (const auto* number = std::get_if<double>(&value.data())) {
      out += json_float(*number);
    } else if (value.as_integer()) {
      out += to_text(value);
    } else if (const Dict* dict = value.as_dict()) {
      write_dict(*dict);
    } else if (is_array(value.as_sequence())) {
      write_array(*value.as_sequence());
    } else {
      throw TemplateError(
          fmt::format("Object of type {} is not JSON serializable", type_name(value)));
    }
  }

  std::string out;

 private:
  static bool is_array(const Sequence* sequence) {
    return sequence &&
           (sequence->kind == Sequence::Kind::kList || sequence->kind == Sequence::Kind::kTuple);
  }

  static std::string json_float(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return float_text(value);
  }

  void write_text(const std::string& text) {
    out += '"';
    for (std::size_t i = 0; i < text.size();) write_character(next_code_point(text, i));
    out += '"';
  }

  void write_character(char32_t c) {
    switch (c) {
      case '"':
        out += "\\\"";
        return;
      case '\\':
        out += "\\\\";
        return;
      case '\n':
        out += "\\n";
        return;
      case '\r':
        out += "\\r";
        return;
      case '\t':
        out += "\\t";
        return;
      case '\f':
        out += "\\f";
        return;
      case '\b':
        out += "\\b";
        return;
      default:
        break;
    }
    if (c < 0x20 || (style_.ensure_ascii && c >= 0x7F)) {
      write_escape(static_cast<std::uint32_t>(c));
    } else {
      append_utf8(out, c);
    }
  }

  void write_escape(std::uint32_t code) {
    if (code <= 0xFFFF) {
      out += fmt::format("\\u{:04x}", code);
      return;
    }
    code -= 0x10000;
    out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF));
  }

  std::string key_text(const Value& key) const {
    if (const std::string* text = key.as_text()) return *text;
    if (const auto* number = std::get_if<double>(&key.data())) return json_float(*number);
    if (key.is_none()) return "null";
    if (const bool* flag = key.as_bool()) return *flag ? "true" : "false";
    if (key.as_integer()) return to_text(key);
    throw TemplateError(
        fmt::format("keys must be str, int, float, bool or None, not {}", type_name(key)));
  }

  void new_line() {
    if (!style_.indent) return;
    out += '\n';
    for (int i = 0; i < level_; ++i) out += *style_.indent;
  }

  void write_dict(const Dict& dict) {
    if (dict.entries.empty()) {
      out += "{}";
      return;
    }
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
        Budget budget;
        return less(a->first, b->first, "<", budget);
      });
    }
    out += '{';
    ++level_;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line();
      write_text(key_text(entries[i]->first));
      out += style_.key_separator;
      write(entries[i]->second);
    }
    --level_;
    new_line();
    out += '}';
  }

  void write_array(const Sequence& sequence) {
    if (sequence.items.empty()) {
      out += "[]";
      return;
    }
    out += '[';
    ++level_;
    for (std::size_t i = 0; i < sequence.items.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      new_line();
      write(sequence.items[i]);
    }
    --level_;
    new_line();
    out += ']';
  }

  const JsonStyle& style_;
  int depth_ = 0;
  int level_ = 0;
};

}  // namespace

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view shortest(buffer, static_cast<std::size_t>(end.ptr - buffer));
  const std::size_t mark = shortest.find('e');
  const int exponent = std::stoi(std::string(shortest.substr(mark + 1)));
  if (exponent < -4 || exponent >= 16) return std::string(shortest);
  const auto plain = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  std::string out(buffer, plain.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string to_text(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_none()) return "None";
  if (const std::string* text = value.as_text()) return *text;
  if (const bool* flag = value.as_bool()) return *flag ? "True" : "False";
  if (const auto* number = std::get_if<double>(&value.data())) return float_text(*number);
  if (const auto integer = value.as_integer()) return fmt::format("{}", *integer);
  if (const Function* function = value.as_function()) {
    throw TemplateError(
        fmt::format("got the function '{}', want a value that prints", function->name));
  }
  if (value.as_loop()) throw TemplateError("got `loop`, want a value that prints");
  ReprWriter writer;
  writer.write(value);
  return std::move(writer.out);
}

std::string repr(const Value& value) {
  ReprWriter writer;
  writer.write(value);
  return std::move(writer.out);
}

std::string to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value);
  return std::move(writer.out);
}

}  // namespace limbic::data::jinja
