// Chat templates of Hugging Face model folders: messages in, the text that the model was trained
// on out, and which parts of it the assistant wrote.
//
// The Jinja subset is the one that published templates use (see `jinja/`); white space handling is
// transformers' (trim_blocks and lstrip_blocks on, a leading newline of a block dropped).
// Source: transformers' chat template documentation; Jinja 3 language reference.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "trainer/base/fields.h"

namespace limbic::data {

struct Rendered {
  std::string text;
  // Bytes [first, second) inside {% generation %} blocks, in order.
  std::vector<std::pair<std::size_t, std::size_t>> generation_spans;
  bool spans_complete = true;  // false: some stand in macros or set blocks, and are not listed
};

class ChatTemplate {
 public:
  // `override_file` (may be empty), else chat_template.jinja of the folder, else `chat_template` of
  // tokenizer_config.json (a string, or a list of named templates of which "default" is taken).
  // The template named "tool_use" there, or additional_chat_templates/tool_use.jinja, renders what
  // has tools, as in transformers; other names are not read.
  // bos_token, eos_token, ... of tokenizer_config.json are variables. A folder without any template
  // gives an empty one, whose `render` throws DataError saying so.
  // Throws DataError `FILE:LINE: ...` for a template that does not parse or uses what is unknown.
  static ChatTemplate load(const std::string& folder, const std::string& override_file);
  // From text; `name` is the file in messages; `variables` are further globals (bos_token, ...).
  static ChatTemplate parse(const std::string& source, const std::string& name,
                            const Json& variables);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  bool empty() const;
  // The file (with its part) or folder it is from, as messages show it.
  const std::string& name() const;
  // messages: a list of {role, content, ...}. `variables`: an object of further template variables
  // (enable_thinking, tools, ...). Throws DataError with the template's own message when it raises
  // (raise_exception), and `FILE:LINE: ...` for a type error inside the template.
  Rendered render(const Json& messages, bool add_generation_prompt, const Json& variables) const;
  // The template for these variables has {% generation %} blocks.
  bool has_generation_blocks(const Json& variables) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace limbic::data
