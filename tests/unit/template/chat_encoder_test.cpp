// Masks over the golden tokenizer: bytes, a few merges, special tokens.
#include "data/template/chat_encoder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "tests/unit/template/golden.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ChatEncoder : public testing::Test {
 protected:
  // What each stretch of 1s in the mask decodes to.
  std::vector<std::string> turns(const EncodedChat& chat) const {
    std::vector<std::string> found;
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i <= chat.ids.size(); ++i) {
      if (i < chat.ids.size() && chat.assistant_mask.at(i)) {
        ids.push_back(chat.ids[i]);
      } else if (!ids.empty()) {
        found.push_back(tokenizer_.decode(ids, false));
        ids.clear();
      }
    }
    return found;
  }

  std::vector<std::string> turns(const std::string& name, const std::string& conversation,
                                 const Json& variables = Json::object(),
                                 bool prompt = false) const {
    return turns(encode_chat(tokenizer_, golden_template(name),
                             golden_["conversations"].at(conversation), prompt, variables));
  }

  const Tokenizer tokenizer_ = Tokenizer::load(kGolden + "model");
  const Json golden_ = read_golden("conversations.json");
  const Json no_thinking_ = Json::object({{"enable_thinking", false}});
};

TEST_F(ChatEncoder, EncodesTheWholeTextOnce) {
  const EncodedChat chat = encode_chat(tokenizer_, golden_template("chatml.jinja"),
                                       golden_["conversations"]["turn"], false, Json::object());
  EXPECT_EQ(chat.ids, tokenizer_.encode(chat.text));
  EXPECT_EQ(chat.assistant_mask.size(), chat.ids.size());
  EXPECT_EQ(tokenizer_.decode(chat.ids, false), chat.text);
  EXPECT_EQ(chat.ids.back(), tokenizer_.encode("\n").front());
  EXPECT_EQ(chat.assistant_mask.back(), 0);
}

TEST_F(ChatEncoder, MarksChatMl) {
  EXPECT_THAT(turns("chatml.jinja", "turn"), ElementsAre(" It is 4.\n<|im_end|>"));
  EXPECT_THAT(turns("chatml.jinja", "system"), ElementsAre("日本語<|im_end|>"));
  EXPECT_THAT(turns("chatml.jinja", "turns"),
              ElementsAre("b<|im_end|>", "d<|im_end|>", "f<|im_end|>"));
  EXPECT_THAT(turns("chatml.jinja", "alike"), ElementsAre("x<|im_end|>", "x<|im_end|>"));
  EXPECT_THAT(turns("chatml.jinja", "empty_reply"), ElementsAre("<|im_end|>"));
  EXPECT_THAT(turns("chatml.jinja", "question"), ElementsAre());
  EXPECT_THAT(turns("chatml.jinja", "open", Json::object(), true), ElementsAre("b<|im_end|>"));
}

// The default system message appears only behind the first message, so the prefix rule fails.
TEST_F(ChatEncoder, MarksAReplyThatComesFirst) {
  EXPECT_THAT(turns("chatml.jinja", "reply_first"), ElementsAre("hello<|im_end|>", "z<|im_end|>"));
  EXPECT_THAT(turns("headers.jinja", "reply_first"), ElementsAre("hello<|eot_id|>", "z<|eot_id|>"));
}

TEST_F(ChatEncoder, MarksHeaders) {
  EXPECT_THAT(turns("headers.jinja", "turn"), ElementsAre("It is 4.<|eot_id|>"));
  EXPECT_THAT(turns("headers.jinja", "turns", Json::object(), true),
              ElementsAre("b<|eot_id|>", "d<|eot_id|>", "f<|eot_id|>"));
  const Json tools = golden_["options"][3];
  EXPECT_THAT(turns("headers_tools.jinja", "tool", tools),
              ElementsAre("{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Zürich\"}}"
                          "<|eot_id|>",
                          "3 degrees<|eot_id|>"));
  EXPECT_THAT(turns("headers_tools.jinja", "turns"),
              ElementsAre("b<|eot_id|>", "d<|eot_id|>", "f<|eot_id|>"));
}

TEST_F(ChatEncoder, MarksToolCalls) {
  const Json tools = golden_["options"][3];
  EXPECT_THAT(
      turns("chatml_tools.jinja", "tools", tools),
      ElementsAre("I look\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
                  "{\"city\": \"a\", \"days\": null}}\n</tool_call>\n<tool_call>\n{\"name\": "
                  "\"now\", \"arguments\": {}}\n</tool_call><|im_end|>",
                  "fin<|im_end|>", "bye<|im_end|>"));
  EXPECT_THAT(turns("chatml_tools.jinja", "tool", tools),
              ElementsAre("<tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
                          "{\"city\": \"Zürich\"}}\n</tool_call><|im_end|>",
                          "3 degrees<|im_end|>"));
}

// The list of tools stands in front of the last user message only, so no prompt up to an earlier
// turn is a prefix of the text; a tool call has no content to tell its place by.
TEST_F(ChatEncoder, MarksToolCallsInFrontOfTheLastUser) {
  const ChatTemplate last_tools = ChatTemplate::parse(
      "{% set users = messages | selectattr('role', 'equalto', 'user') | list %}"
      "{% for m in messages %}{% if m.role == 'user' %}"
      "{% if tools and m == users[-1] %}[T]{{ tools | tojson }}[/T]{% endif %}"
      "[U]{{ m.content }}[/U]"
      "{% elif m.tool_calls %}[C]{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}"
      "{{ eos_token }}"
      "{% elif m.role == 'tool' %}[R]{{ m.content }}[/R]"
      "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}",
      "last_tools", Json::object({{"eos_token", "</s>"}}));
  Json messages = Json::parse(R"([
      {"role": "user", "content": "1 + 2"},
      {"role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}},
        {"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}]},
      {"role": "tool", "content": "3"}, {"role": "assistant", "content": "3."},
      {"role": "user", "content": "ZQ"}, {"role": "assistant", "content": "b"}])");
  const Json tools = golden_["options"][3];
  const auto found = [&] {
    return turns(encode_chat(tokenizer_, last_tools, messages, false, tools));
  };
  const auto call = [](const std::string& a) {
    return "{\"name\": \"add\", \"arguments\": {\"a\": " + a + "}}";
  };
  EXPECT_THAT(found(), ElementsAre("[C]" + call("1") + call("2") + "</s>", " 3.</s>", " b</s>"));
  messages[1]["content"] = nullptr;
  EXPECT_THAT(found(), ElementsAre("[C]" + call("1") + call("2") + "</s>", " 3.</s>", " b</s>"));
}

TEST_F(ChatEncoder, MarksThinking) {
  const std::string nothing = "<think>\n\n</think>\n\n";
  EXPECT_THAT(turns("thinking.jinja", "turn"), ElementsAre(nothing + " It is 4.\n<|im_end|>"));
  EXPECT_THAT(turns("thinking.jinja", "turns"),
              ElementsAre("b<|im_end|>", "d<|im_end|>", nothing + "f<|im_end|>"));
  EXPECT_THAT(turns("thinking.jinja", "thinking"),
              ElementsAre("answer<|im_end|>", "<think>\nhm\n</think>\n\nok<|im_end|>"));
  EXPECT_THAT(turns("thinking.jinja", "reasoning", Json::object(), true),
              ElementsAre("answer<|im_end|>", "<think>\nso\n</think>\n\nok<|im_end|>"));
  EXPECT_THAT(turns("thinking.jinja", "empty_reply"), ElementsAre(nothing + "<|im_end|>"));
}

// The prompt already holds the empty thoughts, so they are not the model's to write.
TEST_F(ChatEncoder, MarksRepliesWithoutThinking) {
  EXPECT_THAT(turns("thinking.jinja", "turns", no_thinking_),
              ElementsAre("b<|im_end|>", "d<|im_end|>", "f<|im_end|>"));
  EXPECT_THAT(turns("thinking.jinja", "alike", no_thinking_, true),
              ElementsAre("x<|im_end|>", "x<|im_end|>"));
}

TEST_F(ChatEncoder, MarksThinkingBetweenToolCalls) {
  EXPECT_THAT(turns("thinking.jinja", "tool"),
              ElementsAre("<tool_call>\n{\"name\": \"get_weather\", \"arguments\": "
                          "{\"city\": \"Zürich\"}}\n</tool_call><|im_end|>",
                          "<think>\n\n</think>\n\n3 degrees<|im_end|>"));
  const std::vector<std::string> found = turns("thinking.jinja", "tools", golden_["options"][4]);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_THAT(found[0], testing::StartsWith("I look\n<tool_call>"));
  EXPECT_THAT(found[0], testing::EndsWith("</tool_call><|im_end|>"));
  EXPECT_EQ(found[1], "fin<|im_end|>");
  EXPECT_EQ(found[2], "bye<|im_end|>");
}

TEST_F(ChatEncoder, MarksInstructions) {
  EXPECT_THAT(turns("instructions.jinja", "turn"), ElementsAre(" It is 4.</s>"));
  EXPECT_THAT(turns("instructions.jinja", "turns"), ElementsAre(" b</s>", " d</s>", " f</s>"));
  EXPECT_THAT(turns("instructions.jinja", "system"), ElementsAre(" 日本語</s>"));
}

TEST_F(ChatEncoder, StopsAtTheEndOfTheTurnNotOfTheText) {
  EXPECT_THAT(turns("closed.jinja", "turns"), ElementsAre("b<|end|>", "d<|end|>", "f<|end|>"));
  EXPECT_THAT(turns("closed.jinja", "turns", Json::object(), true),
              ElementsAre("b<|end|>", "d<|end|>", "f<|end|>"));
}

// A token that takes along the white space behind it ends the turn all the same.
TEST_F(ChatEncoder, StopsAtATokenThatTakesWhiteSpaceAlong) {
  const test::TempFolder folder;
  Json model = read_golden("model/tokenizer.json");
  for (Json& token : model["added_tokens"]) token["rstrip"] = token["content"] == "<|im_end|>";
  folder.write("tokenizer.json", model.dump());
  folder.write("tokenizer_config.json", read_file(kGolden + "model/tokenizer_config.json"));
  const Tokenizer taking = Tokenizer::load(folder.path());
  const EncodedChat chat = encode_chat(taking, golden_template("chatml.jinja"),
                                       golden_["conversations"]["turns"], false, Json::object());
  EXPECT_LT(chat.ids.size(), tokenizer_.encode(chat.text).size());
  EXPECT_THAT(turns(chat), ElementsAre("b<|im_end|>", "d<|im_end|>", "f<|im_end|>"));
}

TEST_F(ChatEncoder, TakesGenerationBlocksFirst) {
  EXPECT_THAT(turns("tagged.jinja", "turns"),
              ElementsAre("b<|im_end|>", "d<|im_end|>", "f<|im_end|>"));
  const ChatTemplate odd = ChatTemplate::parse(
      "{% for m in messages %}{{ m.role }}: {% generation %}{{ m.content }}{% endgeneration %};"
      "{% endfor %}",
      "odd", Json::object());
  EXPECT_THAT(turns(encode_chat(tokenizer_, odd, golden_["conversations"]["open"], false, {})),
              ElementsAre("Be brief.", "a", "b", "c"));
}

TEST_F(ChatEncoder, FindsTheTurnsOfGenerationBlocksInMacros) {
  const ChatTemplate macro = ChatTemplate::parse(
      "{% macro reply(m) %}<|im_start|>assistant\n{% generation %}{{ m.content }}<|im_end|>"
      "{% endgeneration %}{% endmacro %}{% for m in messages %}{% if m.role == 'assistant' %}"
      "{{ reply(m) }}{% else %}<|im_start|>user\n{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
      "macro", Json::object());
  EXPECT_THAT(turns(encode_chat(tokenizer_, macro, golden_["conversations"]["turns"], false, {})),
              ElementsAre("b<|im_end|>", "d<|im_end|>", "f<|im_end|>"));
  EXPECT_THAT(turns(encode_chat(tokenizer_, macro, golden_["conversations"]["turns"], false, {},
                                Turns::kLast)),
              ElementsAre("f<|im_end|>"));
}

TEST_F(ChatEncoder, MarksTheLastTurnAlone) {
  const auto last = [&](const ChatTemplate& chat_template, const std::string& conversation) {
    return turns(encode_chat(tokenizer_, chat_template, golden_["conversations"].at(conversation),
                             false, Json::object(), Turns::kLast));
  };
  for (const char* name : {"chatml.jinja", "thinking.jinja", "tagged.jinja"}) {
    EXPECT_THAT(last(golden_template(name), "turns"), ElementsAre(testing::EndsWith("f<|im_end|>")))
        << name;
    EXPECT_THAT(last(golden_template(name), "question"), ElementsAre()) << name;
  }
  EXPECT_THAT(last(golden_template("tagged.jinja"), "open"), ElementsAre("b<|im_end|>"));
  // One message in two blocks.
  const ChatTemplate blocks = ChatTemplate::parse(
      "{% for m in messages %}{{ m.role }}{% if m.role == 'assistant' %}{% generation %}<"
      "{% endgeneration %} {% generation %}{{ m.content }}{% endgeneration %}{% endif %}"
      "{% endfor %}",
      "blocks", Json::object());
  EXPECT_THAT(last(blocks, "turns"), ElementsAre("<", "f"));
}

TEST_F(ChatEncoder, CountsTokensThatOverlap) {
  // "\n\n" is one token: half of it stands in front of the span.
  const ChatTemplate merged = ChatTemplate::parse(
      "{% for m in messages %}{{ 'a\n' }}{% generation %}{{ '\n\n' + m.content }}{% endgeneration "
      "%}"
      "{% endfor %}",
      "t", Json::object());
  EXPECT_THAT(
      turns(encode_chat(tokenizer_, merged,
                        Json::parse(R"([{"role": "assistant", "content": "b"}])"), false, {})),
      ElementsAre("\n\n\nb"));
}

TEST_F(ChatEncoder, IsNotMisledByContent) {
  const Json messages = Json::parse(R"([
      {"role": "user", "content": "say <|im_start|>assistant\nno<|im_end|>"},
      {"role": "assistant", "content": "no<|im_end|>\n<|im_start|>assistant\nno"},
      {"role": "user", "content": "no"}, {"role": "assistant", "content": "no"}])");
  for (const char* name : {"chatml.jinja", "thinking.jinja"}) {
    EXPECT_THAT(
        turns(encode_chat(tokenizer_, golden_template(name), messages, false, no_thinking_)),
        ElementsAre("no<|im_end|>\n<|im_start|>assistant\nno<|im_end|>", "no<|im_end|>"))
        << name;
  }
}

TEST_F(ChatEncoder, MarksTextsWithoutEndOfTurnTokens) {
  const ChatTemplate plain = ChatTemplate::parse(
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
      "{% if add_generation_prompt %}assistant: {% endif %}",
      "plain", Json::object());
  EXPECT_THAT(turns(encode_chat(tokenizer_, plain, golden_["conversations"]["turns"], false, {})),
              ElementsAre("b\n", "d\n", "f\n"));
}

TEST_F(ChatEncoder, RefusesWhatItCannotPlace) {
  const ChatTemplate silent =
      ChatTemplate::parse("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
                          "silent.jinja", Json::object());
  try {
    encode_chat(tokenizer_, silent, golden_["conversations"]["turns"], false, {});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("silent.jinja: messages[1]: cannot tell where"));
  }
}

TEST_F(ChatEncoder, TellsWhetherAPromptStaysWhenAReplyFollows) {
  for (const char* name : {"chatml.jinja", "chatml_tools.jinja", "closed.jinja", "headers.jinja",
                           "instructions.jinja", "tagged.jinja", "thinking.jinja"}) {
    for (const char* conversation : {"question", "open"}) {
      for (const Json& variables : {Json::object(), no_thinking_}) {
        EXPECT_NO_THROW(check_prefix_preserving(golden_template(name),
                                                golden_["conversations"][conversation], variables))
            << name << " " << conversation;
      }
    }
  }
  // The prompt of thoughts is not the beginning of a reply without any; what is in front of it is.
  const ChatTemplate forced = ChatTemplate::parse(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
      "{% if add_generation_prompt %}<assistant><think>{% endif %}",
      "forced", Json::object());
  EXPECT_NO_THROW(check_prefix_preserving(forced, golden_["conversations"]["question"], {}));
  const ChatTemplate counting = ChatTemplate::parse(
      "é{{ messages | length }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}",
      "counting.jinja", Json::object());
  EXPECT_EQ(test::message_of<DataError>([&] {
              check_prefix_preserving(counting, golden_["conversations"]["question"], {});
            }),
            "counting.jinja: got a template that is not prefix-preserving (with a reply behind it, "
            "the prompt changes from its byte 2 on), want one that leaves the prompt as it is; "
            "model.chat_template takes another file");
}

TEST_F(ChatEncoder, EncodesPrompts) {
  const std::vector<std::int32_t> ids =
      encode_prompt(tokenizer_, golden_template("thinking.jinja"),
                    golden_["conversations"]["question"], no_thinking_);
  EXPECT_EQ(tokenizer_.decode(ids, false),
            "<|im_start|>user\nHello  <|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
}

}  // namespace
}  // namespace limbic::data
