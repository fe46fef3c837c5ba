#include "data/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "data/text_template.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

constexpr std::array<std::string_view, 6> kShapeColumns = {"messages",    "prompt", "conversations",
                                                           "instruction", "text",   "chosen"};

Json message(std::string_view role, Json content) {
  return Json{{"role", role}, {"content", std::move(content)}};
}

bool ends_with_assistant(const Json& turns) {
  return !turns.empty() && turns.back()["role"] == "assistant";
}

const std::string& want_string(const Row& row, const Json& value, std::string_view where) {
  if (!value.is_string()) {
    fail_row(row, fmt::format("got {} in {}, want a string", in_words(value), where));
  }
  return value.get_ref<const std::string&>();
}

// LLaMA-Factory keeps a call as the JSON text of {name, arguments}, or of a list of them.
Json function_call(const Row& row, const std::string& text) {
  const Json parsed = Json::parse(text, nullptr, false);
  const Json calls = parsed.is_array() ? parsed : Json::array({parsed});
  Json tool_calls = Json::array();
  for (const Json& call : calls) {
    if (!call.is_object() || !call.contains("name") || !call.contains("arguments")) {
      fail_row(row, "got a function_call that is no JSON of {name, arguments}, want one");
    }
    tool_calls.push_back(Json{{"type", "function"}, {"function", call}});
  }
  Json turn = message("assistant", "");
  turn["tool_calls"] = std::move(tool_calls);
  return turn;
}

Json from_sharegpt(const Row& row, const Json& turn, const std::string& where) {
  const std::string& from = want_string(row, turn["from"], where + ".from");
  const Json value = turn.value("value", Json());
  const std::string& text = want_string(row, value, where + ".value");
  if (from == "human" || from == "user") return message("user", text);
  if (from == "gpt" || from == "assistant") return message("assistant", text);
  if (from == "system") return message("system", text);
  if (from == "observation" || from == "tool") return message("tool", text);
  if (from == "function_call") return function_call(row, text);
  fail_row(row, fmt::format("got '{}' in {}.from, want human, gpt, system, observation or "
                            "function_call",
                            from, where));
}

// A list of messages as it stands in a column, ShareGPT's spelling translated.
Json message_list(const Row& row, std::string_view column, const Json& value) {
  if (!value.is_array() || value.empty()) {
    fail_row(row, fmt::format("got {} in column '{}', want a list of messages", in_words(value),
                              column));
  }
  Json turns = Json::array();
  for (std::size_t i = 0; i < value.size(); ++i) {
    const Json& turn = value[i];
    const std::string where = fmt::format("{}[{}]", column, i);
    if (!turn.is_object()) {
      fail_row(row, fmt::format("got {} in {}, want a message", in_words(turn), where));
    }
    if (turn.contains("from") && !turn.contains("role")) {
      turns.push_back(from_sharegpt(row, turn, where));
      continue;
    }
    if (!turn.contains("role")) fail_row(row, fmt::format("got no role in {}, want one", where));
    want_string(row, turn["role"], where + ".role");
    const Json content = turn.value("content", Json());
    const bool call_only = content.is_null() && turn.contains("tool_calls");
    if (!content.is_string() && !content.is_array() && !call_only) {
      fail_row(row, fmt::format("got {} in {}.content, want a string or a list of parts",
                                in_words(content), where));
    }
    turns.push_back(turn);
  }
  return turns;
}

// A string becomes one message of `role`.
Json strings_or_messages(const Row& row, std::string_view column, std::string_view role) {
  const Json& value = want_column(row, column, "a string or a list of messages");
  if (value.is_string()) return Json::array({message(role, value)});
  return message_list(row, column, value);
}

void append(Json& turns, const Json& more) {
  for (const Json& turn : more) turns.push_back(turn);
}

Json alpaca(const Row& row, bool with_response) {
  Json turns = Json::array();
  if (const Json* history = find_column(row, "history")) {
    for (const Json& pair : *history) {
      if (!pair.is_array() || pair.size() != 2) {
        fail_row(row, "got an item of 'history' that is no pair, want [user, assistant]");
      }
      turns.push_back(message("user", want_string(row, pair[0], "column 'history'")));
      turns.push_back(message("assistant", want_string(row, pair[1], "column 'history'")));
    }
  }
  std::string text =
      want_string(row, want_column(row, "instruction", "a string"), "column 'instruction'");
  if (const Json* input = find_column(row, "input")) {
    const std::string& more = want_string(row, *input, "column 'input'");
    if (!more.empty()) text += "\n" + more;
  }
  turns.push_back(message("user", text));
  const Json* output = find_column(row, "output");
  if (with_response && output) {
    turns.push_back(message("assistant", want_string(row, *output, "column 'output'")));
  }
  return turns;
}

// A pair without a prompt of its own: the turns before the replies are the same in both.
Json from_pair(const Row& row, bool with_response) {
  const Json chosen = message_list(row, "chosen", want_column(row, "chosen", "a list of messages"));
  if (with_response) return chosen;
  const Json rejected =
      message_list(row, "rejected", want_column(row, "rejected", "a list of messages"));
  Json turns = Json::array();
  for (std::size_t i = 0; i < std::min(chosen.size(), rejected.size()); ++i) {
    if (chosen[i] != rejected[i]) break;
    turns.push_back(chosen[i]);
  }
  return turns;
}

std::string_view shape_of(const Row& row, const DatasetConfig& config) {
  if (!config.prompt.empty()) return "template";
  for (std::string_view name : kShapeColumns) {
    for (const auto& [ours, theirs] : config.columns) {
      if (ours != name) continue;
      if (find_column(row, name)) return name;
      want_column(row, name, fmt::format("the file's '{}' for it (columns)", theirs));
    }
  }
  for (std::string_view name : kShapeColumns) {
    if (find_column(row, name)) return name;
  }
  want_column(row, "messages",
              "one of messages, prompt, conversations, instruction, text, or a 'prompt:' template");
  return "";
}

void add_system(const Row& row, const std::string& text, Json& turns) {
  if (text.empty()) return;
  if (!turns.empty() && turns[0]["role"] == "system") {
    fail_row(row, "got a system message in the row and a second one from 'system', want one");
  }
  turns.insert(turns.begin(), message("system", text));
}

// The turns of the row's own columns and of the prompt's template, before `system:` and
// `response:`.
Json own_turns(const Row& row, const DatasetConfig& config, std::string_view shape,
               bool with_response) {
  Json turns = Json::array();
  if (shape == "template" || shape == "prompt") {
    if (shape == "template") {
      turns.push_back(message("user", TextTemplate(config.prompt).render(row, "it for 'prompt:'")));
    } else {
      turns = strings_or_messages(row, "prompt", "user");
      if (ends_with_assistant(turns)) {
        fail_row(row, "got a prompt that ends with the assistant's turn, want another turn last");
      }
    }
    if (with_response && find_column(row, "completion") && config.response.empty()) {
      append(turns, strings_or_messages(row, "completion", "assistant"));
    }
    return turns;
  }
  if (shape == "instruction") {
    turns = alpaca(row, with_response);
  } else if (shape == "chosen") {
    turns = from_pair(row, with_response);
  } else {
    turns = message_list(row, shape, want_column(row, shape, "a list of messages"));
  }
  const bool complete = shape == "messages" || shape == "chosen";
  const Json* system = complete ? nullptr : find_column(row, "system");
  if (system) add_system(row, want_string(row, *system, "column 'system'"), turns);
  return turns;
}

}  // namespace

Json build_messages(const Row& row, const DatasetConfig& config, bool with_response) {
  const std::string_view shape = shape_of(row, config);
  if (shape == "text") {
    if (!config.system.empty() || !config.response.empty()) {
      fail_row(row, "got plain text with 'system:' or 'response:', want a 'prompt:' template too");
    }
    return want_string(row, want_column(row, "text", "a string"), "column 'text'");
  }
  Json turns = own_turns(row, config, shape, with_response);
  add_system(row, config.system, turns);
  if (!config.response.empty()) {
    if (ends_with_assistant(turns)) {
      fail_row(row, "got a row that ends with the assistant's turn and 'response:', want one");
    }
    if (with_response) {
      const TextTemplate response(config.response);
      turns.push_back(message("assistant", response.render(row, "it for 'response:'")));
    }
  } else if (!with_response && ends_with_assistant(turns)) {
    turns.erase(turns.size() - 1);
  }
  bool has_user = false;
  bool has_assistant = false;
  for (const Json& turn : turns) {
    has_assistant = has_assistant || turn["role"] == "assistant";
    has_user = has_user || turn["role"] != "system";
  }
  if (with_response && !has_assistant) {
    fail_row(row, "got no assistant's turn, want one to train on; set 'response:' or add it");
  }
  if (!with_response && !has_user) fail_row(row, "got no turn to answer, want a user's turn");
  return turns;
}

std::vector<std::pair<std::string, std::string>> reward_columns(const Row& row) {
  std::vector<std::pair<std::string, std::string>> columns;
  for (const auto& [name, value] : row.value.items()) {
    if (name == "messages" || name == "prompt" || name == "completion" || value.is_null()) continue;
    columns.emplace_back(name, as_text(value));
  }
  return columns;
}

}  // namespace limbic::data
