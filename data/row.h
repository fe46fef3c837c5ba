// One row of a data file: a JSON object and the place it came from, for messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "trainer/base/fields.h"

namespace limbic::data {

struct Row {
  Json value;
  std::string file;
  std::int64_t line = 0;  // from 1
};

// nullptr when the row has no such column or holds null there.
const Json* find_column(const Row& row, std::string_view name);

// Throws DataError `FILE:LINE: message`.
[[noreturn]] void fail_row(const Row& row, std::string_view message);

// Throws DataError `FILE:LINE: got no column 'x', want USE; the row has a, b, c` (or "got null in
// column").
const Json& want_column(const Row& row, std::string_view name, std::string_view use);

// A value in words for messages: `the string "joy"`, `the number 3`, `a list`, ... (long ones cut).
std::string in_words(const Json& value);

// A string as it is, anything else as JSON text.
std::string as_text(const Json& value);

}  // namespace limbic::data
