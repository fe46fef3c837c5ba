#include "data/tokenizer_config.h"

#include <filesystem>

#include "trainer/base/file.h"
#include "trainer/base/json_file.h"

namespace limbic::data {
namespace {

Json read_if_there(const std::string& path) {
  return is_named(path) ? read_json_object(path) : Json::object();
}

std::string in_folder(const std::string& folder, const char* name) {
  return (std::filesystem::path(folder) / name).string();
}

}  // namespace

TokenizerConfig TokenizerConfig::read(const std::string& folder) {
  TokenizerConfig out;
  out.folder = folder;
  out.values = read_if_there(in_folder(folder, "tokenizer_config.json"));
  if (out.values.contains("added_tokens_decoder")) return out;
  out.mapped = read_if_there(in_folder(folder, "special_tokens_map.json"));
  out.values.update(out.mapped);
  return out;
}

std::string TokenizerConfig::file_of(const std::string& key) const {
  return in_folder(folder,
                   mapped.contains(key) ? "special_tokens_map.json" : "tokenizer_config.json");
}

}  // namespace limbic::data
