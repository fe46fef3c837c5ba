// Work on every row of a data set, with messages that name the row.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "data/dataset.h"
#include "trainer/base/error.h"
#include "trainer/engine/stage.h"

namespace limbic::engine {

// Runs work(i) for every row on this process's threads; the error of the lowest row wins, so that
// the message does not depend on timing.
void for_every_row(std::int64_t rows, const std::function<void(std::int64_t)>& work);

// Says how many rows do not fit `limit` tokens. Throws DataError when no row is left.
void report_drops(const RunContext& context, std::int64_t dropped, std::int64_t all,
                  std::int64_t limit);

// Adds the row's place to what the template or the tokenizer says.
template <class F>
auto with_place(const data::Mixture& rows, std::int64_t index, F f) {
  try {
    return f();
  } catch (const DataError& error) {
    const data::Row row = rows.row(index);
    const std::string place = fmt::format("{}:{}", row.file, row.line);
    if (std::string_view(error.what()).starts_with(place)) throw;
    throw DataError(fmt::format("{}: {}", place, error.what()));
  }
}

}  // namespace limbic::engine
