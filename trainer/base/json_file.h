// Small JSON files: configs of models, tokenizers and adapters.
#pragma once

#include <string>

#include "trainer/base/fields.h"

namespace limbic {

// The object that a file holds. Throws DataError `PATH: got ..., want ...`: not readable, no JSON
// (with line and column), no object.
Json read_json_object(const std::string& path);

// What the parser says, `line 2, column 1: ...`, without its name for the kind of error.
std::string parse_problem(const Json::exception& error);

}  // namespace limbic
