#include "trainer/base/json_file.h"

#include <fmt/format.h>

#include <limits>
#include <vector>

#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic {
namespace {

// Place of the quote that ends the string which begins at `at`; behind the text without one.
std::size_t end_of_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;  // what is escaped ends nothing
  }
  return at;
}

template <class J>
J parse(std::string_view text, const std::string& where, std::size_t max_keys) {
  check_json_bounds(text, where, max_keys);
  try {
    return J::parse(text);
  } catch (const typename J::exception& error) {
    throw DataError(
        fmt::format("{}: got broken JSON ({}), want an intact file", where, parse_problem(error)));
  }
}

}  // namespace

void check_json_bounds(std::string_view text, const std::string& where, std::size_t max_keys) {
  if (text.find('\0') != std::string_view::npos) {
    throw DataError(fmt::format("{}: got a zero byte, which no JSON has", where));
  }
  std::vector<std::size_t> keys;  // of every open object; a list has none
  for (std::size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"':
        at = end_of_string(text, at);
        break;
      case '[':
      case '{':
        if (keys.size() == kMaxJsonDepth) {
          throw DataError(fmt::format("{}: got JSON that nests deeper than {} levels, want less",
                                      where, kMaxJsonDepth));
        }
        keys.push_back(0);
        break;
      case ']':
      case '}':
        if (!keys.empty()) keys.pop_back();
        break;
      case ':':
        if (!keys.empty() && ++keys.back() > max_keys) {
          throw DataError(
              fmt::format("{}: got an object of more than {} keys, want less", where, max_keys));
        }
        break;
      default:
        break;
    }
  }
}

Json parse_json(std::string_view text, const std::string& where) {
  return parse<Json>(text, where, kMaxOrderedKeys);
}

nlohmann::json parse_sorted_json(std::string_view text, const std::string& where) {
  return parse<nlohmann::json>(text, where, std::numeric_limits<std::size_t>::max());
}

Json read_json_object(const std::string& path) {
  Json json = parse_json(read_regular_file(path), path);
  if (!json.is_object()) {
    throw DataError(fmt::format("{}: got {}, want a JSON object", path, json.type_name()));
  }
  return json;
}

std::string parse_problem(const nlohmann::json::exception& error) {
  std::string text = error.what();  // [json.exception...] parse error at line L, column C: ...
  if (const auto at = text.find("] "); at != text.npos) text.erase(0, at + 2);
  if (const std::string_view start = "parse error at "; text.starts_with(start)) {
    text.erase(0, start.size());
  }
  return text;
}

}  // namespace limbic
