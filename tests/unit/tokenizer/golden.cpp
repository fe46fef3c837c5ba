#include "tests/unit/tokenizer/golden.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "trainer/base/file.h"

namespace limbic::data {
namespace {

const std::string kGolden = std::string(LIMBIC_SOURCE_DIR) + "/tests/unit/tokenizer/golden/";

}  // namespace

std::string golden_folder(const std::string& family) { return kGolden + family; }

std::vector<Json> golden_rows(const std::string& name) {
  std::istringstream lines(read_file(kGolden + name));
  std::vector<Json> rows;
  for (std::string line; std::getline(lines, line);) rows.push_back(Json::parse(line));
  return rows;
}

std::vector<std::int32_t> ids_of(const Json& row) {
  return row["ids"].get<std::vector<std::int32_t>>();
}

std::string decoded_of(const Json& row, bool skip_special_tokens) {
  const char* key = skip_special_tokens ? "skipped" : "decoded";
  return row.contains(key) ? row[key] : row["text"];
}

Json golden_json(const std::string& family) {
  return Json::parse(read_file(kGolden + family + "/tokenizer.json"));
}

}  // namespace limbic::data
