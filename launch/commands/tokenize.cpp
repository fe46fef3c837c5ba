// `limbic tokenize`: ids of texts and rendered chats.
#include "launch/commands/chat_rows.h"
#include "launch/commands/commands.h"
#include "launch/commands/row_files.h"

namespace limbic::launch {
namespace {

struct TokenizeOptions {
  std::string model, chat_template, input, output;
};

NewFields tokenize_row(const Text& text, const data::Row& row) {
  if (data::find_column(row, "messages") != nullptr) {
    const data::EncodedChat chat = encode_messages(text, row, false);
    const bool masked = chat.assistant_mask.size() == chat.ids.size();
    return {{"text", Json(chat.text).dump()},
            {"ids", Json(chat.ids).dump()},
            {"assistant_mask", (masked ? Json(chat.assistant_mask) : Json()).dump()}};
  }
  const Json& value = data::want_column(row, "text", "text or messages");
  if (!value.is_string()) {
    data::fail_row(row, fmt::format("got {} in 'text', want a string", data::in_words(value)));
  }
  std::vector<std::int32_t> ids;
  with_place(row, [&] { ids = text.tokenizer.encode(value.get_ref<const std::string&>()); });
  return {{"ids", Json(ids).dump()}};
}

int tokenize(const TokenizeOptions& options) {
  const Text text = load_text(options.model, options.chat_template);
  transform_rows(options.input, options.output, 256, [&](const std::vector<RowText>& rows) {
    std::vector<NewFields> fields;
    for (const RowText& row : rows) fields.push_back(tokenize_row(text, row.row));
    return fields;
  });
  return 0;
}

}  // namespace

void add_tokenize(Command limbic) {
  Command command = limbic.add("tokenize", "token ids of texts and chats");
  auto options = std::make_shared<TokenizeOptions>();
  command.option("--model", options->model, "Hugging Face model folder").required();
  command.option("--chat-template", options->chat_template,
                 "file that replaces the folder's chat template");
  command.option("--input", options->input, "rows of {\"text\"} or {\"messages\"}").required();
  command.option("--output", options->output, "rows with ids").required();
  command.example(
      "limbic tokenize --model models/SmolLM2-135M-Instruct --input rows.jsonl "
      "--output ids.jsonl");
  command.runs([options] { return tokenize(*options); });
}

}  // namespace limbic::launch
