// Rows of {"text"}, {"ids"}, {"prompt"} or {"messages", "add_generation_prompt"?, template
// variables} as the commands on a model take them.
#pragma once

#include <cstdint>
#include <vector>

#include "data/row.h"
#include "data/template/chat_encoder.h"
#include "launch/model/model_setup.h"

namespace limbic::launch {

// The row's `messages` through the chat template, the other fields of the row as template
// variables. A text whose turns cannot be told apart has an empty mask, which is warned of.
data::EncodedChat encode_messages(const Text& text, const data::Row& row,
                                  bool default_generation_prompt);

// What is to be continued: ids, messages (with the generation prompt), or a prompt string by
// itself (`encode_document`). Only tokens that the model has.
std::vector<std::int32_t> prompt_ids(const Text& text, const data::Row& row,
                                     const model::ModelConfig& model);

}  // namespace limbic::launch
