// JSON that somebody else wrote, read within bounds: no file may exhaust the stack, the memory or
// the reader's patience.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "trainer/base/json.h"

namespace limbic {

// Copying, printing and comparing walk down nested values by recursion.
constexpr std::size_t kMaxJsonDepth = 100;
// `Json` keeps the order of its keys and searches them from the first on.
constexpr std::size_t kMaxOrderedKeys = 50'000;

// Throws DataError `WHERE: ...` for text that nests deeper than kMaxJsonDepth, has an object of
// more than `max_keys` keys, or a zero byte (the parser takes one for the end). Other text that is
// no JSON passes: that is for the parser to find.
void check_json_bounds(std::string_view text, const std::string& where, std::size_t max_keys);

// Throws DataError `WHERE: ...` for text that is no JSON or exceeds the bounds. The last of equal
// keys counts.
Json parse_json(std::string_view text, const std::string& where);
// Keys are sorted, and may be as many as there is room for.
nlohmann::json parse_sorted_json(std::string_view text, const std::string& where);

// A regular file that holds an object. Throws DataError `PATH: ...`.
Json read_json_object(const std::string& path);

// What the parser says, `line 2, column 1: ...`, without its name for the kind of error.
std::string parse_problem(const nlohmann::json::exception& error);

}  // namespace limbic
