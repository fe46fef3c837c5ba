#include "trainer/base/json_file.h"

#include <fmt/format.h>

#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic {

Json read_json_object(const std::string& path) {
  try {
    Json json = Json::parse(read_file(path));
    if (json.is_object()) return json;
  } catch (const Json::parse_error& error) {
    throw DataError(
        fmt::format("{}: got broken JSON ({}), want an object", path, parse_problem(error)));
  }
  throw DataError(path + ": got no JSON object, want one");
}

std::string parse_problem(const Json::exception& error) {
  std::string text = error.what();  // [json.exception...] parse error at line L, column C: ...
  if (const auto at = text.find("] "); at != text.npos) text.erase(0, at + 2);
  if (const std::string_view start = "parse error at "; text.starts_with(start)) {
    text.erase(0, start.size());
  }
  return text;
}

}  // namespace limbic
