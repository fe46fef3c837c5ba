#include "data/template/chat_template.h"

#include <fmt/format.h>

#include <filesystem>

#include "data/template/jinja/evaluator.h"
#include "data/template/jinja/lexer.h"
#include "data/tokenizer_config.h"
#include "trainer/base/error.h"
#include "trainer/base/file.h"

namespace limbic::data {
namespace fs = std::filesystem;
namespace {

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

// The template of a name in tokenizer_config.json; empty when there is none. A text is the default.
std::string configured_template(const Json& config, const std::string& file,
                                const std::string& name) {
  const bool is_default = name == "default";
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return {};
  if (found->is_string()) return is_default ? found->get<std::string>() : "";
  if (found->is_array()) {
    for (const Json& named : *found) {
      if (named.is_object() && named.value("name", Json()) == name && named.contains("template") &&
          named["template"].is_string()) {
        return named["template"].get<std::string>();
      }
    }
    if (!is_default) return {};
  }
  throw DataError(
      fmt::format("{}: chat_template: got {}, want a string or a list with a template "
                  "named 'default'",
                  file, found->type_name()));
}

}  // namespace

struct ChatTemplate::Impl {
  std::string name;
  jinja::ParsedTemplate parsed;
  std::unique_ptr<Impl> tool_use;  // what renders instead when there are tools; may be null
  jinja::Variables globals;
  bool empty = true;

  const Impl& chosen(const Json& variables) const {
    const bool tools =
        variables.is_object() && variables.contains("tools") && !variables.at("tools").is_null();
    return tools && tool_use ? *tool_use : *this;
  }

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
  const std::string file = (path / "tokenizer_config.json").string();
  const Json config = TokenizerConfig::read(folder).values;
  const Json tokens = special_tokens(config);
  if (!override_file.empty()) return parse(read_file(override_file), override_file, tokens);
  const auto with_tools = [&](ChatTemplate found) {
    const std::string named = (path / "additional_chat_templates/tool_use.jinja").string();
    const std::string source = configured_template(config, file, "tool_use");
    if (is_named(named)) {
      found.impl_->tool_use = parse(read_regular_file(named), named, tokens).impl_;
    } else if (!source.empty()) {
      found.impl_->tool_use = parse(source, file + ": chat_template: tool_use", tokens).impl_;
    }
    return found;
  };
  const std::string own = (path / "chat_template.jinja").string();
  if (is_named(own)) return with_tools(parse(read_regular_file(own), own, tokens));
  const std::string source = configured_template(config, file, "default");
  if (!source.empty()) return with_tools(parse(source, file + ": chat_template", tokens));
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
bool ChatTemplate::has_generation_blocks(const Json& variables) const {
  return impl_->chosen(variables).parsed.has_generation;
}
const std::string& ChatTemplate::name() const { return impl_->name; }

Rendered ChatTemplate::render(const Json& messages, bool add_generation_prompt,
                              const Json& variables) const {
  if (impl_->empty) {
    throw DataError(
        fmt::format("{}: got no chat template, want chat_template.jinja or "
                    "`chat_template` in tokenizer_config.json",
                    impl_->name));
  }
  const Impl& own = impl_->chosen(variables);
  jinja::Variables all = own.globals;
  // transformers gives these two always, as none.
  all.try_emplace("tools");
  all.try_emplace("documents");
  own.add(all, variables);
  all["messages"] = own.convert("messages", messages);
  all["add_generation_prompt"] = jinja::Value(add_generation_prompt);
  try {
    jinja::Output output = jinja::evaluate(own.parsed, all);
    return {std::move(output.text), std::move(output.generation_spans), output.spans_complete};
  } catch (const jinja::RenderError& error) {
    throw DataError(fmt::format("{}:{}: {}", own.name, error.line, error.message));
  }
}

}  // namespace limbic::data
