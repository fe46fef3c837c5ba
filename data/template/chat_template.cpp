#include "data/template/chat_template.h"

#include <fmt/format.h>

#include <filesystem>

#include "data/template/jinja/evaluator.h"
#include "data/template/jinja/lexer.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"
#include "trainer/base/json_file.h"

namespace limbic::data {
namespace fs = std::filesystem;
namespace {

Json read_tokenizer_config(const fs::path& folder) {
  const fs::path path = folder / "tokenizer_config.json";
  return fs::exists(path) ? read_json_object(path.string()) : Json::object();
}

// bos_token, eos_token and their like: texts, or objects of an added token.
Json special_tokens(const Json& config) {
  Json tokens = Json::object();
  for (const auto& [key, value] : config.items()) {
    if (!key.ends_with("_token")) continue;
    if (value.is_string()) {
      tokens[key] = value;
    } else if (value.is_object() && value.contains("content") && value["content"].is_string()) {
      tokens[key] = value["content"];
    }
  }
  return tokens;
}

// The template in tokenizer_config.json; empty when there is none.
std::string configured_template(const Json& config, const std::string& file) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) {
    for (const Json& named : *found) {
      if (named.is_object() && named.value("name", Json()) == "default" &&
          named.contains("template") && named["template"].is_string()) {
        return named["template"].get<std::string>();
      }
    }
  }
  throw DataError(
      fmt::format("{}: chat_template: got {}, want a string or a list with a template "
                  "named 'default'",
                  file, found->type_name()));
}

// Reasoning stands under one of these names; templates read the first, or `thinking`.
Json with_reasoning_names(const Json& message) {
  if (!message.is_object()) return message;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = message.find(name);
    if (found == message.end() || found->is_null()) continue;
    Json named = Json::object();
    named["thinking"] = *found;
    for (const auto& [key, value] : message.items()) named[key] = value;
    named["reasoning_content"] = *found;
    return named;
  }
  return message;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string name;
  jinja::ParsedTemplate parsed;
  jinja::Variables globals;
  bool empty = true;

  void add(jinja::Variables& to, const Json& variables) const {
    if (variables.is_null()) return;
    if (!variables.is_object()) {
      throw DataError(
          fmt::format("{}: got {} for the variables, want an object", name, variables.type_name()));
    }
    for (const auto& [key, value] : variables.items()) to[key] = convert(key, value);
  }

  jinja::Value convert(const std::string& what, const Json& value) const {
    try {
      return jinja::Value::from_json(value);
    } catch (const jinja::TemplateError& error) {
      throw DataError(fmt::format("{}: {}: {}", name, what, error.what()));
    }
  }
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

ChatTemplate ChatTemplate::load(const std::string& folder, const std::string& override_file) {
  const fs::path path(folder);
  const Json config = read_tokenizer_config(path);
  const Json tokens = special_tokens(config);
  if (!override_file.empty()) return parse(read_file(override_file), override_file, tokens);
  const std::string own = (path / "chat_template.jinja").string();
  if (fs::exists(own)) return parse(read_file(own), own, tokens);
  const std::string file = (path / "tokenizer_config.json").string();
  const std::string source = configured_template(config, file);
  if (!source.empty()) return parse(source, file + ": chat_template", tokens);
  auto impl = std::make_unique<Impl>();
  impl->name = folder;
  return ChatTemplate(std::move(impl));
}

ChatTemplate ChatTemplate::parse(const std::string& source, const std::string& name,
                                 const Json& variables) {
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  impl->empty = false;
  try {
    impl->parsed = jinja::parse_template(source);
  } catch (const jinja::SyntaxError& error) {
    throw DataError(fmt::format("{}:{}: {}", name, error.line, error.message));
  }
  impl->add(impl->globals, variables);
  return ChatTemplate(std::move(impl));
}

bool ChatTemplate::empty() const { return impl_->empty; }
bool ChatTemplate::has_generation_blocks() const { return impl_->parsed.has_generation; }
const std::string& ChatTemplate::name() const { return impl_->name; }

Rendered ChatTemplate::render(const Json& messages, bool add_generation_prompt,
                              const Json& variables) const {
  if (impl_->empty) {
    throw DataError(
        fmt::format("{}: got no chat template, want chat_template.jinja or "
                    "`chat_template` in tokenizer_config.json",
                    impl_->name));
  }
  jinja::Variables all = impl_->globals;
  // transformers gives these two always, as none.
  all.try_emplace("tools");
  all.try_emplace("documents");
  impl_->add(all, variables);
  Json named = Json::array();
  for (const Json& message : messages) named.push_back(with_reasoning_names(message));
  all["messages"] = impl_->convert("messages", named);
  all["add_generation_prompt"] = jinja::Value(add_generation_prompt);
  try {
    jinja::Output output = jinja::evaluate(impl_->parsed, all);
    return {std::move(output.text), std::move(output.generation_spans)};
  } catch (const jinja::RenderError& error) {
    throw DataError(fmt::format("{}:{}: {}", impl_->name, error.line, error.message));
  }
}

}  // namespace limbic::data
