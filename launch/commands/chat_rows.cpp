#include "launch/commands/chat_rows.h"

#include "data/template/turn_finder.h"
#include "launch/commands/row_files.h"
#include "trainer/base/log.h"

namespace limbic::launch {
namespace {

Json messages_of(const data::Row& row) {
  const Json& messages = data::want_column(row, "messages", "a list of messages");
  if (!messages.is_array() || messages.empty()) {
    data::fail_row(row, fmt::format("got {} in 'messages', want a list of messages",
                                    data::in_words(messages)));
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    if (message.is_object() && message.contains("role") && message["role"].is_string()) continue;
    data::fail_row(row, fmt::format("got {} as message {}, want {{\"role\", \"content\"}}",
                                    data::in_words(message), i));
  }
  return messages;
}

// Everything else in the row may be a variable of the template (enable_thinking, tools, ...).
Json variables_of(const data::Row& row) {
  Json variables = Json::object();
  for (const auto& [key, value] : row.value.items()) {
    if (key != "messages" && key != "add_generation_prompt") variables[key] = value;
  }
  return variables;
}

}  // namespace

data::EncodedChat encode_messages(const Text& text, const data::Row& row,
                                  bool default_generation_prompt) {
  const Json* flag = data::find_column(row, "add_generation_prompt");
  if (flag != nullptr && !flag->is_boolean()) {
    data::fail_row(row, fmt::format("got {} in 'add_generation_prompt', want true or false",
                                    data::in_words(*flag)));
  }
  const bool generation_prompt = flag != nullptr ? flag->get<bool>() : default_generation_prompt;
  data::EncodedChat chat;
  with_place(row, [&] {
    const Json messages = messages_of(row), variables = variables_of(row);
    try {
      chat = data::encode_chat(text.tokenizer, text.chat_template, messages, generation_prompt,
                               variables);
    } catch (const data::NoTurnError& error) {
      spdlog::warn("{}:{}: {}; assistant_mask is null", row.file, row.line, error.what());
      chat = data::encode_unmasked(text.tokenizer, text.chat_template, messages, generation_prompt,
                                   variables);
    }
  });
  return chat;
}

std::vector<std::int32_t> prompt_ids(const Text& text, const data::Row& row,
                                     const model::ModelConfig& model) {
  if (data::find_column(row, "ids") != nullptr) return ids_of(row, model.vocab_size);
  std::vector<std::int32_t> ids;
  with_place(row, [&] {
    if (data::find_column(row, "messages") != nullptr) {
      ids = data::encode_prompt(text.tokenizer, text.chat_template, messages_of(row),
                                variables_of(row));
      return;
    }
    const Json& prompt = data::want_column(row, "prompt", "one of prompt, messages or ids");
    if (!prompt.is_string()) {
      data::fail_row(row, fmt::format("got {} in 'prompt', want a string", data::in_words(prompt)));
    }
    ids = text.tokenizer.encode_document(prompt.get_ref<const std::string&>());
  });
  with_place(row, [&] { model.check_tokens(ids); });
  if (ids.empty()) data::fail_row(row, "got an empty prompt, want at least one token");
  return ids;
}

}  // namespace limbic::launch
