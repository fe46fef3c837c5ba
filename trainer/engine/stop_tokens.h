// Where a completion ends, and its text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/engine/stage.h"
#include "trainer/generation/generator.h"

namespace limbic::engine {

// End tokens of generation_config.json (or config.json), the tokenizer's end-of-sequence token, and
// the token that ends an assistant's turn in the chat template. Ascending, without doubles.
std::vector<std::int32_t> stop_tokens(const RunContext& context);
std::vector<std::int32_t> stop_tokens(const model::ModelConfig& model,
                                      const data::Tokenizer& tokenizer,
                                      const data::ChatTemplate& chat_template);

// Text of a completion without the stop token that ended it.
std::string completion_text(const data::Tokenizer& tokenizer,
                            const generation::Completion& completion, bool skip_special_tokens);

}  // namespace limbic::engine
