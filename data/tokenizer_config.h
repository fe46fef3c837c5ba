// tokenizer_config.json of a model folder, with the special tokens of folders that keep them in
// special_tokens_map.json.
#pragma once

#include <string>

#include "trainer/base/json.h"

namespace limbic::data {

struct TokenizerConfig {
  Json values = Json::object();  // empty when the folder has no such file
  // Names of tokens that special_tokens_map.json gives. As in transformers it counts where
  // tokenizer_config.json has no `added_tokens_decoder`, and then before what stands there.
  Json mapped = Json::object();
  std::string folder;

  // Throws DataError for a file that is no JSON object.
  static TokenizerConfig read(const std::string& folder);
  // The file that a key's value is from, for messages.
  std::string file_of(const std::string& key) const;
};

}  // namespace limbic::data
