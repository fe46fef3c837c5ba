// Commands that read rows and write rows: input order kept, unknown fields untouched, no
// half-written output.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "data/row.h"

namespace limbic::launch {

using NewFields = std::vector<std::pair<std::string, std::string>>;  // key, JSON text

struct RowText {
  std::string text;  // the line
  data::Row row;
};

// Reads `input` in chunks of `chunk` rows, gives each chunk to `work`, which returns the fields to
// add to every row, and writes `output` aside until all is done. Throws DataError `FILE:LINE: ...`.
void transform_rows(const std::string& input, const std::string& output, std::size_t chunk,
                    const std::function<std::vector<NewFields>(const std::vector<RowText>&)>& work);

// Runs f and puts the row's file and line in front of a DataError that has no place yet.
void with_place(const data::Row& row, const std::function<void()>& f);

// A list of whole numbers from 0 to `limit` - 1. Throws DataError.
std::vector<std::int32_t> ids_of(const data::Row& row, std::int64_t limit);

}  // namespace limbic::launch
