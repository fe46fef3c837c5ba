#include "trainer/engine/encode_rows.h"

#include "data/template/chat_encoder.h"
#include "trainer/base/error.h"
#include "trainer/engine/row_work.h"

namespace limbic::engine {
namespace {

// A column that holds `want`, or JSON of it in a string; null when the row has none.
Json structured(const data::Row& row, const char* column, bool (Json::*fits)() const noexcept,
                const char* want) {
  const Json* value = data::find_column(row, column);
  if (value == nullptr || value->is_null()) return nullptr;
  const Json out = value->is_string()
                       ? Json::parse(value->get_ref<const std::string&>(), nullptr, false)
                       : *value;
  if (!(out.*fits)()) {
    data::fail_row(row,
                   fmt::format("got {} in '{}', want {}", data::in_words(*value), column, want));
  }
  return out;
}

data::Example encode_text(const RunContext& context, const std::string& text) {
  data::Example example;
  example.ids = context.tokenizer.encode_document(text);
  const auto eos = context.tokenizer.eos_id();
  if (eos && (example.ids.empty() || example.ids.back() != *eos)) example.ids.push_back(*eos);
  example.loss_mask.assign(example.ids.size(), 1);
  return example;
}

data::Example encode_example(const RunContext& context, const data::Mixture& rows,
                             std::int64_t index, MaskRule mask) {
  const Json messages = rows.messages(index, true);
  data::Example example;
  if (messages.is_string()) {
    example = encode_text(context, messages.get<std::string>());
  } else {
    data::EncodedChat chat = data::encode_chat(
        context.tokenizer, context.chat_template, messages, false,
        template_variables(context.template_variables, rows.row(index)), mask.turns);
    example.ids = std::move(chat.ids);
    example.loss_mask = std::move(chat.assistant_mask);
    if (!mask.assistant_only) {
      example.loss_mask.assign(example.ids.size(), 1);
    } else if (!std::count(example.loss_mask.begin(), example.loss_mask.end(), 0)) {
      data::fail_row(rows.row(index),
                     "got a chat template that marks every token as the assistant's, want its "
                     "turns alone; assistant_only_loss: false learns everything");
    }
  }
  example.row = index;
  if (!example.loss_mask.empty()) example.loss_mask[0] = 0;
  return example;
}

enum class Fit { kYes, kDrop };

template <class T>
void cut_left(std::vector<T>& values, std::size_t limit) {
  values.erase(values.begin(), values.end() - static_cast<std::ptrdiff_t>(limit));
}

Fit fit(data::Example& example, LengthRule rule, const data::Mixture& rows) {
  const auto limit = static_cast<std::size_t>(rule.limit);
  const bool targets_missing = !std::count(example.loss_mask.begin(), example.loss_mask.end(), 1);
  if (targets_missing) {
    data::fail_row(rows.row(example.row), "got no token to learn, want an assistant's turn");
  }
  if (example.ids.size() <= limit) return Fit::kYes;
  switch (rule.overlong) {
    case Overlong::kError:
      data::fail_row(rows.row(example.row),
                     fmt::format("got {} tokens, want at most max_length {}; raise max_length or "
                                 "set overlong: drop, truncate_left or truncate_right",
                                 example.ids.size(), rule.limit));
    case Overlong::kDrop:
      return Fit::kDrop;
    case Overlong::kTruncateLeft:
      cut_left(example.ids, limit);
      cut_left(example.loss_mask, limit);
      example.loss_mask[0] = 0;
      break;
    case Overlong::kTruncateRight:
      example.ids.resize(limit);
      example.loss_mask.resize(limit);
      break;
  }
  return std::count(example.loss_mask.begin(), example.loss_mask.end(), 1) ? Fit::kYes : Fit::kDrop;
}

std::vector<std::int32_t> prompt_ids(const RunContext& context, const data::Mixture& rows,
                                     const PromptRow& prompt, PromptUse use) {
  if (prompt.messages.is_string()) {
    return context.tokenizer.encode_document(prompt.messages.get_ref<const std::string&>());
  }
  const Json variables = template_variables(context.template_variables, rows.row(prompt.row));
  if (use == PromptUse::kLearn) {
    data::check_prefix_preserving(context.chat_template, prompt.messages, variables);
  }
  return data::encode_prompt(context.tokenizer, context.chat_template, prompt.messages, variables);
}

}  // namespace

Json template_variables(const Json& settings, const data::Row& row) {
  Json variables = settings;
  const Json more = structured(row, "chat_template_kwargs", &Json::is_object, "an object");
  if (!more.is_null()) variables.update(more);
  for (const char* name : {"tools", "documents"}) {
    Json value = structured(row, name, &Json::is_array, "a list");
    if (!value.is_null()) variables[name] = std::move(value);
  }
  return variables;
}

data::Mixture mixture_of(const RunContext& context, const std::vector<std::string>& names) {
  std::vector<const data::Dataset*> datasets;
  for (const std::string& name : names) datasets.push_back(&context.dataset(name));
  return data::Mixture(datasets);
}

std::vector<data::Example> encode_examples(const RunContext& context, const data::Mixture& rows,
                                           LengthRule rule, MaskRule mask) {
  std::vector<data::Example> encoded(static_cast<std::size_t>(rows.size()));
  std::vector<Fit> fits(encoded.size(), Fit::kYes);
  for_every_row(rows.size(), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    encoded[at] = with_place(rows, i, [&] { return encode_example(context, rows, i, mask); });
    fits[at] = fit(encoded[at], rule, rows);
  });
  std::vector<data::Example> kept;
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    if (fits[i] == Fit::kYes) kept.push_back(std::move(encoded[i]));
  }
  report_drops(context, rows.size() - static_cast<std::int64_t>(kept.size()), rows.size(),
               rule.limit);
  return kept;
}

std::vector<PromptRow> encode_prompts(const RunContext& context, const data::Mixture& rows,
                                      LengthRule rule, PromptUse use) {
  if (rule.limit < 1) {
    throw ConfigError(
        "max_completion_length: got as many tokens as max_length or the model's positions, want "
        "room for a prompt");
  }
  std::vector<PromptRow> encoded(static_cast<std::size_t>(rows.size()));
  for_every_row(rows.size(), [&](std::int64_t i) {
    PromptRow& prompt = encoded[static_cast<std::size_t>(i)];
    prompt.row = i;
    prompt.messages = rows.messages(i, false);
    prompt.ids = with_place(rows, i, [&] { return prompt_ids(context, rows, prompt, use); });
    if (prompt.ids.empty()) data::fail_row(rows.row(i), "got an empty prompt, want some text");
    const auto length = static_cast<std::int64_t>(prompt.ids.size());
    if (length <= rule.limit) return;
    if (rule.overlong == Overlong::kError) {
      data::fail_row(rows.row(i),
                     fmt::format("got a prompt of {} tokens, want at most {} (max_length "
                                 "or the model's positions, less max_completion_length)",
                                 length, rule.limit));
    }
    if (rule.overlong == Overlong::kTruncateLeft) {
      cut_left(prompt.ids, static_cast<std::size_t>(rule.limit));
    } else if (rule.overlong == Overlong::kTruncateRight) {
      prompt.ids.resize(static_cast<std::size_t>(rule.limit));
    } else {
      prompt.ids.clear();
    }
  });
  std::vector<PromptRow> kept;
  for (PromptRow& prompt : encoded) {
    if (!prompt.ids.empty()) kept.push_back(std::move(prompt));
  }
  report_drops(context, rows.size() - static_cast<std::int64_t>(kept.size()), rows.size(),
               rule.limit);
  return kept;
}

}  // namespace limbic::engine
