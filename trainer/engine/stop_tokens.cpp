#include "trainer/engine/stop_tokens.h"

#include <set>

#include "data/template/chat_encoder.h"
#include "trainer/base/error.h"

namespace limbic::engine {
namespace {

// The last special token that the template puts behind an assistant's reply.
std::optional<std::int32_t> end_of_turn(const data::Tokenizer& tokenizer,
                                        const data::ChatTemplate& chat_template) {
  if (chat_template.empty()) return std::nullopt;
  const Json messages = {{{"role", "user"}, {"content", "a"}},
                         {{"role", "assistant"}, {"content", "b"}}};
  try {
    const data::EncodedChat chat =
        data::encode_chat(tokenizer, chat_template, messages, false, Json::object());
    for (std::size_t i = chat.ids.size(); i-- > 0;) {
      if (chat.assistant_mask[i] == 0) continue;
      if (tokenizer.is_special(chat.ids[i])) return chat.ids[i];
      return std::nullopt;
    }
  } catch (const DataError&) {
    // A template that wants other messages than these ends its turns as the model's config says.
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::int32_t> stop_tokens(const model::ModelConfig& model,
                                      const data::Tokenizer& tokenizer,
                                      const data::ChatTemplate& chat_template) {
  std::set<std::int32_t> tokens(model.eos_token_ids.begin(), model.eos_token_ids.end());
  if (const auto eos = tokenizer.eos_id()) tokens.insert(*eos);
  if (const auto end = end_of_turn(tokenizer, chat_template)) tokens.insert(*end);
  return {tokens.begin(), tokens.end()};
}

std::vector<std::int32_t> stop_tokens(const RunContext& context) {
  return stop_tokens(context.decoder.config(), context.tokenizer, context.chat_template);
}

std::string completion_text(const data::Tokenizer& tokenizer,
                            const generation::Completion& completion, bool skip_special_tokens) {
  std::span<const std::int32_t> ids = completion.ids;
  if (completion.stopped) ids = ids.first(ids.size() - 1);
  return tokenizer.decode(ids, skip_special_tokens);
}

}  // namespace limbic::engine
