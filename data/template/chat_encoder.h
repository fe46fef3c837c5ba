// From messages to token ids and the mask of what the assistant wrote.
//
// A template that has {% generation %} blocks says itself what the mask covers. Otherwise (and with
// blocks in macros or set blocks, which do not tell where their text goes) every assistant turn is
// found by the first rule that fits it:
//   1. prefix rule: render(messages up to it, add_generation_prompt) is a prefix of render(messages
//      including it), and that of the whole text; the turn is what lies between;
//   2. content rule (a template that shows earlier turns differently, as Qwen 3 drops their
//      thoughts): the turn is what changes in the whole text when the message says something else,
//      from behind the generation prompt in front of it;
//   3. last-turn rule (tool calls of a template that shows the tools in front of the last user
//      message only): the turn as it reads when it is the last one, where the text changes with the
//      names of its calls.
// A turn ends behind its end-of-turn token, the special token that closes it; white space behind
// it is not the model's to write. Text without such tokens ends with what the template puts there.
// When no rule fits, DataError says so (with the template's name and the message's index).
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

enum class Turns { kAll, kLast };  // of the assistant

// The whole text is encoded once; spans become masks by the tokens' byte offsets. kLast: the mask
// covers the assistant's last message alone; of generation blocks, those that the template does not
// write for the messages in front of it. Throws NoTurnError when no rule fits.
EncodedChat encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                        const Json& messages, bool add_generation_prompt, const Json& variables,
                        Turns turns = Turns::kAll);

// The same without a mask.
EncodedChat encode_unmasked(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                            const Json& messages, bool add_generation_prompt,
                            const Json& variables);

// Throws DataError when what the template writes for the messages changes as soon as a reply
// follows them (it is not prefix-preserving): a reply would be learned behind another text than the
// one that it stands behind later. What asks for the reply (the generation prompt) may differ.
// Messages that end with the assistant's are not looked at.
void check_prefix_preserving(const ChatTemplate& chat_template, const Json& messages,
                             const Json& variables);

// Ids only (no mask is made), for prompts.
std::vector<std::int32_t> encode_prompt(const Tokenizer& tokenizer,
                                        const ChatTemplate& chat_template, const Json& messages,
                                        const Json& variables);

}  // namespace limbic::data
