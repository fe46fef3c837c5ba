// From messages to token ids and the mask of what the assistant wrote.
//
// The mask is made by the first rule that applies:
//   1. the template's own {% generation %} blocks;
//   2. prefix rule: for every assistant turn, render(messages up to it, add_generation_prompt) must
//   be
//      a prefix of render(messages including it), and that of the whole text; the turn is what lies
//      between, cut behind its end-of-turn token;
//   3. content rule: the turn's content is found in the rendered text in order, and extended over
//   the
//      end-of-turn token behind it.
// When none fits, DataError says so (with the template's name).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/template/chat_template.h"
#include "data/tokenizer/tokenizer.h"

namespace limbic::data {

struct EncodedChat {
  std::string text;
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> assistant_mask;  // [ids] 1 on every token that the model has to
                                             // produce: the reply and its end-of-turn token
};

// The whole text is encoded once; spans become masks by the tokens' byte offsets.
EncodedChat encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                        const Json& messages, bool add_generation_prompt, const Json& variables);

// Ids only (no mask is made), for prompts.
std::vector<std::int32_t> encode_prompt(const Tokenizer& tokenizer,
                                        const ChatTemplate& chat_template, const Json& messages,
                                        const Json& variables);

}  // namespace limbic::data
