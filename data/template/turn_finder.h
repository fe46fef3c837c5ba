// Where the assistant's turns stand in a rendered conversation, for templates that do not say it.
// Each turn is found by the first rule of chat_encoder.h that fits.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "data/template/chat_template.h"
#include "trainer/base/error.h"

namespace limbic::data {

// No rule tells where a turn stands.
class NoTurnError : public DataError {
 public:
  using DataError::DataError;
};

using Span = std::pair<std::size_t, std::size_t>;  // bytes [first, second)

// `text` is the rendering of all messages (with the generation prompt or without) and `special` the
// special tokens in it, in order. Each span starts behind the generation prompt and ends behind the
// end-of-turn token. Throws NoTurnError with the template's name and the message's index when no
// rule fits a turn.
std::vector<Span> find_assistant_turns(const ChatTemplate& chat_template, const Json& messages,
                                       bool add_generation_prompt, const Json& variables,
                                       const std::string& text, const std::vector<Span>& special);

}  // namespace limbic::data
