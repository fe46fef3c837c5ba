// Files of the golden folder, made by make_golden.py, and copies of them with a part changed.
#pragma once

#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "tests/support/temp_folder.h"

namespace limbic::data {

// Tokenizers in the styles of known families, each a folder with tokenizer.json and golden.jsonl.
inline const std::vector<std::string> kFamilies = {"smollm2", "gpt2",  "llama3",
                                                   "qwen",    "flags", "llama2"};

std::string golden_folder(const std::string& family);

// The lines of golden/NAME.
std::vector<Json> golden_rows(const std::string& name);

std::vector<std::int32_t> ids_of(const Json& row);

// The text of the row that is decoded from its ids; the row leaves it out where it is its `text`.
std::string decoded_of(const Json& row, bool skip_special_tokens);

// golden/FAMILY/tokenizer.json.
Json golden_json(const std::string& family);

}  // namespace limbic::data
