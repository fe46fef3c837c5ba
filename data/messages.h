// From a row to a conversation, whatever its shape. Columns carry our names (see rename_columns).
//
// The first shape that fits is taken; one that `columns:` names must be there:
//   `prompt:` in the config    a user message from the template
//   messages                   a list of {role, content, ...}; ShareGPT's {from, value} too
//   prompt [completion]        strings (a user and an assistant message) or lists of messages
//   conversations [system]     ShareGPT: human, gpt, system, observation, function_call
//   instruction [input] [output] [system] [history]      Alpaca
//   text                       plain text, not a conversation
//   chosen, rejected           two conversations; the prompt is what they begin with in common
// Source: TRL's dataset formats (a string prompt is a user message here, not bare text); the
// ShareGPT and Alpaca layouts of LLaMA-Factory.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/dataset_config.h"
#include "data/row.h"

namespace limbic::data {

// A list of messages, other keys of a message kept; of a `text` row the text as a JSON string.
//
// with_response  true: what is trained on, so at least one assistant's turn (`response:` is
//                appended, an error when the last turn already is the assistant's);
//                false: what is answered: no completion, no output, and without the assistant's
//                turn that closes `messages` or `conversations`
// Throws DataError `FILE:LINE: ...`: a missing column, a wrong type, an unknown ShareGPT role, no
// turn, two system messages.
Json build_messages(const Row& row, const DatasetConfig& config, bool with_response);

// Every column but messages, prompt and completion, in the row's order: strings as they are,
// anything else as JSON text. A null column counts as absent.
std::vector<std::pair<std::string, std::string>> reward_columns(const Row& row);

}  // namespace limbic::data
