#include "data/template/chat_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "data/template/jinja/text.h"
#include "data/template/turn_finder.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

// Special tokens in the text, in order, without the white space that some of them take along
// (`lstrip`, `rstrip`).
std::vector<Span> special_spans(const Tokenizer& tokenizer, const Tokenizer::Encoded& encoded,
                                std::string_view text) {
  std::vector<Span> spans;
  for (std::size_t i = 0; i < encoded.ids.size(); ++i) {
    const std::int32_t id = encoded.ids[i];
    if (!tokenizer.is_special(id) && tokenizer.eos_id() != id) continue;
    const auto [begin, end] = encoded.offsets[i];
    const std::string_view token = text.substr(begin, end - begin);
    const std::string_view bare = jinja::strip(token);
    const std::size_t from =
        bare.empty() ? begin : begin + static_cast<std::size_t>(bare.data() - token.data());
    spans.emplace_back(from, bare.empty() ? end : from + bare.size());
  }
  return spans;
}

// Tokens that overlap a span. Both lists are in order; tokens of one character share its bytes.
std::vector<std::uint8_t> mask_of(const std::vector<Span>& tokens, const std::vector<Span>& spans) {
  std::vector<std::uint8_t> mask(tokens.size(), 0);
  std::size_t next = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    while (next < spans.size() && spans[next].second <= tokens[i].first) ++next;
    if (next == spans.size()) break;
    mask[i] = tokens[i].second > spans[next].first ? 1 : 0;
  }
  return mask;
}

// How many of the spans belong to messages in front of the assistant's last one.
std::size_t earlier_spans(const ChatTemplate& chat_template, const Json& messages,
                          const Json& variables, std::size_t spans, bool in_blocks) {
  if (!in_blocks) return spans > 0 ? spans - 1 : 0;
  std::size_t last = messages.size();
  while (last > 0 && messages[last - 1].value("role", Json()) != "assistant") --last;
  if (last < 2) return 0;
  Json before = Json::array();
  for (std::size_t i = 0; i + 1 < last; ++i) before.push_back(messages[i]);
  return std::min(spans, chat_template.render(before, false, variables).generation_spans.size());
}

}  // namespace

EncodedChat encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                        const Json& messages, bool add_generation_prompt, const Json& variables,
                        Turns turns) {
  Rendered rendered = chat_template.render(messages, add_generation_prompt, variables);
  const Tokenizer::Encoded encoded = tokenizer.encode_with_offsets(rendered.text);
  const bool in_blocks = rendered.spans_complete && chat_template.has_generation_blocks(variables);
  std::vector<Span> spans =
      in_blocks
          ? std::move(rendered.generation_spans)
          : find_assistant_turns(chat_template, messages, add_generation_prompt, variables,
                                 rendered.text, special_spans(tokenizer, encoded, rendered.text));
  if (turns == Turns::kLast) {
    const std::size_t earlier =
        earlier_spans(chat_template, messages, variables, spans.size(), in_blocks);
    spans.erase(spans.begin(), spans.begin() + static_cast<std::ptrdiff_t>(earlier));
  }
  EncodedChat chat;
  chat.assistant_mask = mask_of(encoded.offsets, spans);
  chat.ids = encoded.ids;
  chat.text = std::move(rendered.text);
  return chat;
}

EncodedChat encode_unmasked(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                            const Json& messages, bool add_generation_prompt,
                            const Json& variables) {
  Rendered rendered = chat_template.render(messages, add_generation_prompt, variables);
  return {.text = rendered.text, .ids = tokenizer.encode(rendered.text), .assistant_mask = {}};
}

void check_prefix_preserving(const ChatTemplate& chat_template, const Json& messages,
                             const Json& variables) {
  if (messages.empty() || messages.back().value("role", Json()) == "assistant") return;
  const std::string prompt = chat_template.render(messages, true, variables).text;
  const std::string closed = chat_template.render(messages, false, variables).text;
  Json answered = messages;
  answered.push_back({{"role", "assistant"}, {"content", "x"}});
  const std::string longer = chat_template.render(answered, false, variables).text;
  const auto kept = std::mismatch(prompt.begin(), prompt.end(), longer.begin(), longer.end()).first;
  const auto told = std::mismatch(prompt.begin(), prompt.end(), closed.begin(), closed.end()).first;
  if (kept >= told) return;
  throw DataError(fmt::format(
      "{}: got a template that is not prefix-preserving (with a reply behind it, the prompt "
      "changes "
      "from its byte {} on), want one that leaves the prompt as it is; model.chat_template takes "
      "another file",
      chat_template.name(), kept - prompt.begin()));
}

std::vector<std::int32_t> encode_prompt(const Tokenizer& tokenizer,
                                        const ChatTemplate& chat_template, const Json& messages,
                                        const Json& variables) {
  return tokenizer.encode(chat_template.render(messages, true, variables).text);
}

}  // namespace limbic::data
