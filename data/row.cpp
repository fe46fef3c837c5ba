#include "data/row.h"

#include <fmt/format.h>

#include "data/tokenizer/utf8.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

constexpr std::size_t kMaxShownBytes = 60;

std::string column_names(const Row& row) {
  std::string names;
  for (const auto& [name, value] : row.value.items()) {
    if (!names.empty()) names += ", ";
    names += name;
  }
  return names.empty() ? "none" : names;
}

}  // namespace

const Json* find_column(const Row& row, std::string_view name) {
  const auto found = row.value.find(std::string(name));
  return found == row.value.end() || found->is_null() ? nullptr : &*found;
}

void fail_row(const Row& row, std::string_view message) {
  throw DataError(fmt::format("{}:{}: {}", row.file, row.line, message));
}

const Json& want_column(const Row& row, std::string_view name, std::string_view use) {
  if (const Json* value = find_column(row, name)) return *value;
  if (row.value.contains(std::string(name))) {
    fail_row(row, fmt::format("got null in column '{}', want {}", name, use));
  }
  fail_row(row, fmt::format("got no column '{}', want {}; the row has {}", name, use,
                            column_names(row)));
}

std::string in_words(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_array()) return value.empty() ? "an empty list" : "a list";
  if (value.is_object()) return "an object";
  std::string text = value.dump();
  if (text.size() > kMaxShownBytes) {
    text.resize(complete_utf8_prefix(std::string_view(text).substr(0, kMaxShownBytes)));
    text += "...";
  }
  if (value.is_string()) return "the string " + text;
  return value.is_number() ? "the number " + text : text;
}

std::string as_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace limbic::data
