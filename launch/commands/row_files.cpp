#include "launch/commands/row_files.h"

#include <fmt/format.h>

#include "data/json_lines.h"
#include "data/json_row.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::launch {

void transform_rows(
    const std::string& input, const std::string& output, std::size_t chunk,
    const std::function<std::vector<NewFields>(const std::vector<RowText>&)>& work) {
  data::JsonLines lines(input);
  AtomicFile out(output);
  std::vector<RowText> rows;
  const auto flush = [&] {
    if (rows.empty()) return;
    const std::vector<NewFields> fields = work(rows);
    check(fields.size() == rows.size(), "fields for every row");
    for (std::size_t i = 0; i < rows.size(); ++i) {
      out.write(data::with_fields(rows[i].text, fields[i]) + "\n");
    }
    rows.clear();
  };
  while (auto line = lines.next()) {
    data::Row row{Json::parse(line->text), input, line->number};
    rows.push_back({std::move(line->text), std::move(row)});
    if (rows.size() == chunk) flush();
  }
  flush();
  out.commit();
}

void with_place(const data::Row& row, const std::function<void()>& f) {
  try {
    f();
  } catch (const DataError& error) {
    const std::string place = fmt::format("{}:{}", row.file, row.line);
    if (std::string_view(error.what()).starts_with(place)) throw;
    throw DataError(fmt::format("{}: {}", place, error.what()));
  }
}

std::vector<std::int32_t> ids_of(const data::Row& row, std::int64_t limit) {
  const Json& value = data::want_column(row, "ids", "a list of token ids");
  if (!value.is_array() || value.empty()) {
    data::fail_row(row, fmt::format("got {} in 'ids', want a list of token ids that is not empty",
                                    data::in_words(value)));
  }
  std::vector<std::int32_t> ids;
  for (const Json& id : value) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= limit) {
      data::fail_row(row, fmt::format("got {} in 'ids', want a token id from 0 to {}",
                                      data::in_words(id), limit - 1));
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

}  // namespace limbic::launch
