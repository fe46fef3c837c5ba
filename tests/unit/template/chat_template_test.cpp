#include "data/template/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "tests/unit/template/golden.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string render(const ChatTemplate& chat_template, const Json& messages = Json::array(),
                   const Json& variables = Json::object(), bool prompt = false) {
  return chat_template.render(messages, prompt, variables).text;
}

template <class Action>
std::string data_error(Action action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ChatTemplate, TakesTheDefaultOfAList) {
  const ChatTemplate chat_template = ChatTemplate::load(kGolden + "model", "");
  EXPECT_FALSE(chat_template.empty());
  EXPECT_EQ(render(chat_template), "<s><|im_end|>");
}

TEST(ChatTemplate, PrefersTheOverrideThenTheFileThenTheConfig) {
  const test::TempFolder folder;
  folder.write("tokenizer_config.json",
               R"({"eos_token": {"content": "<e>"}, "chat_template": "config {{ eos_token }}"})");
  EXPECT_EQ(render(ChatTemplate::load(folder.path(), "")), "config <e>");
  folder.write("chat_template.jinja", "file {{ eos_token }}\n");
  EXPECT_EQ(render(ChatTemplate::load(folder.path(), "")), "file <e>");
  folder.write("mine.jinja", "mine {{ eos_token }}");
  EXPECT_EQ(render(ChatTemplate::load(folder.path(), folder.path() + "/mine.jinja")), "mine <e>");
  EXPECT_THAT(data_error([&] { ChatTemplate::load(folder.path(), folder.path() + "/none"); }),
              HasSubstr("/none"));
}

TEST(ChatTemplate, IsEmptyWithoutATemplate) {
  const test::TempFolder folder;
  const ChatTemplate chat_template = ChatTemplate::load(folder.path(), "");
  EXPECT_TRUE(chat_template.empty());
  EXPECT_FALSE(chat_template.has_generation_blocks(Json::object()));
  EXPECT_THAT(data_error([&] { render(chat_template); }),
              HasSubstr(folder.path() + ": got no chat template"));
}

TEST(ChatTemplate, NamesTheBrokenFile) {
  const test::TempFolder folder;
  folder.write("tokenizer_config.json", "{");
  EXPECT_THAT(data_error([&] { ChatTemplate::load(folder.path(), ""); }),
              HasSubstr("tokenizer_config.json: got broken JSON"));
  folder.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": ""}]})");
  EXPECT_THAT(data_error([&] { ChatTemplate::load(folder.path(), ""); }),
              HasSubstr("tokenizer_config.json: chat_template: got array"));
  folder.write("tokenizer_config.json", R"({"chat_template": "a\n{% if %}"})");
  EXPECT_THAT(data_error([&] { ChatTemplate::load(folder.path(), ""); }),
              StartsWith(folder.path() + "/tokenizer_config.json: chat_template:2: got `%}`"));
  folder.write("chat_template.jinja", "\n\n{{ x | y }}");
  EXPECT_THAT(data_error([&] { ChatTemplate::load(folder.path(), ""); }),
              StartsWith(folder.path() + "/chat_template.jinja:3: no filter named 'y'"));
}

TEST(ChatTemplate, TheOneForToolsRendersWhatHasTools) {
  const test::TempFolder folder;
  folder.write("tokenizer_config.json",
               R"({"chat_template": [{"name": "tool_use", "template": "tools"},
                                     {"name": "default", "template": "plain"}]})");
  const Json none = Json::array(), tools = {{"tools", Json::array({Json::object()})}};
  const Json no_tools = {{"tools", nullptr}};
  EXPECT_EQ(render(ChatTemplate::load(folder.path(), ""), none, tools), "tools");
  EXPECT_EQ(render(ChatTemplate::load(folder.path(), ""), none, no_tools), "plain");
  std::filesystem::create_directory(folder.file("additional_chat_templates"));
  folder.write("additional_chat_templates/tool_use.jinja", "{{ 'own' }}");
  folder.write("chat_template.jinja", "file");
  EXPECT_EQ(render(ChatTemplate::load(folder.path(), ""), none, tools), "own");
  EXPECT_EQ(render(ChatTemplate::load(folder.path(), ""), none), "file");
  EXPECT_EQ(
      render(ChatTemplate::load(folder.path(), folder.file("chat_template.jinja")), none, tools),
      "file");
}

TEST(ChatTemplate, GivesVariables) {
  const ChatTemplate chat_template = ChatTemplate::parse(
      "{{ a }}{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}"
      "{{ messages | length }}{{ b is defined }}",
      "t", Json::object({{"a", "global "}}));
  EXPECT_EQ(render(chat_template), "global TrueTrueFalse0False");
  EXPECT_EQ(render(chat_template, Json::array({Json::object()}),
                   Json::object({{"a", "own "}, {"b", 1}, {"tools", Json::array()}}), true),
            "own FalseTrueTrue1True");
}

TEST(ChatTemplate, TakesReasoningUnderTheNameThatTheRowGives) {
  const ChatTemplate chat_template = ChatTemplate::parse(
      "{% for m in messages %}{{ m.reasoning_content }}/{{ m.thinking }};{% endfor %}", "t",
      Json::object());
  const Json messages = Json::parse(
      R"([{"thinking": "a"}, {"reasoning": "b"}, {"reasoning_content": "c"},
          {"reasoning_content": null, "thinking": "e"}])");
  EXPECT_EQ(render(chat_template, messages), "/a;/;c/;None/e;");
}

TEST(ChatTemplate, GivesTheTemplatesOwnMessage) {
  const ChatTemplate chat_template = ChatTemplate::parse(
      "{% if messages[0].role != 'user' %}\n{{ raise_exception('first: ' ~ messages[0].role) }}"
      "{% endif %}",
      "t.jinja", Json::object());
  EXPECT_EQ(data_error([&] { render(chat_template, Json::parse(R"([{"role": "assistant"}])")); }),
            "t.jinja:2: first: assistant");
}

TEST(ChatTemplate, RefusesWhatIsNotUtf8) {
  const ChatTemplate chat_template = ChatTemplate::parse("{{ x }}", "t", Json::object());
  EXPECT_THAT(data_error([&] {
                render(chat_template, Json::array(), Json::object({{"x", "a\xff"}}));
              }),
              HasSubstr("t: x: got text that is not well-formed UTF-8"));
  EXPECT_THAT(data_error([&] { ChatTemplate::parse("a\nb\xc3", "t", Json::object()); }),
              StartsWith("t:2: "));
}

TEST(ChatTemplate, FormatsTheTime) {
  const ChatTemplate chat_template = ChatTemplate::parse(
      "{{ strftime_now('%d %b %Y') | length }}{{ strftime_now('100%%') }}"
      "{{ strftime_now('') }}",
      "t", Json::object());
  EXPECT_EQ(render(chat_template), "11100%");
}

}  // namespace
}  // namespace limbic::data
