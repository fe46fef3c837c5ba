// Against jinja2 in transformers' environment: byte for byte.
#include "tests/unit/template/golden.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using testing::HasSubstr;

Json spans_of(const Rendered& rendered) {
  Json spans = Json::array();
  for (const auto& [first, second] : rendered.generation_spans) {
    spans.push_back(Json::array({first, second}));
  }
  return spans;
}

Rendered render_small(const std::string& source, const Json& variables) {
  return ChatTemplate::parse(source, "small.jinja", variables)
      .render(Json::array(), false, Json::object());
}

TEST(Golden, RendersSmallTemplates) {
  const Json golden = read_golden("small_cases.json");
  int rendered = 0;
  for (const Json& item : golden["cases"]) {
    if (item.contains("error")) continue;
    const std::string source = item["source"];
    // The golden environment has no messages at all.
    if (source.find("messages") != std::string::npos) continue;
    ++rendered;
    try {
      const Rendered result = render_small(source, golden["variables"]);
      EXPECT_EQ(result.text, item["text"].get<std::string>()) << source;
      EXPECT_EQ(spans_of(result), item["spans"]) << source;
    } catch (const Error& error) {
      ADD_FAILURE() << source << "\n  " << error.what();
    }
  }
  EXPECT_GT(rendered, 400);
}

TEST(Golden, FailsWhereJinjaFails) {
  const Json golden = read_golden("small_cases.json");
  int failed = 0;
  for (const Json& item : golden["cases"]) {
    if (!item.contains("error")) continue;
    const std::string source = item["source"];
    ++failed;
    try {
      const std::string text = render_small(source, golden["variables"]).text;
      ADD_FAILURE() << source << " gave " << text;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("small.jinja:")) << source;
      EXPECT_THAT(error.what(), HasSubstr(item["error"].get<std::string>())) << source;
    }
  }
  EXPECT_GT(failed, 50);
}

TEST(Golden, RendersConversations) {
  const Json golden = read_golden("conversations.json");
  std::string name;
  ChatTemplate chat_template = ChatTemplate::parse("", "", Json::object());
  for (const Json& item : golden["cases"]) {
    if (name != item["template"]) {
      name = item["template"];
      chat_template = golden_template(name);
    }
    const std::string messages = item["messages"];
    const auto option = item["option"].get<std::size_t>();
    const std::string where = fmt::format("{} {} {}", name, messages, option);
    try {
      const Rendered result =
          chat_template.render(golden["conversations"][messages], item["add_generation_prompt"],
                               golden["options"][option]);
      ASSERT_FALSE(item.contains("error")) << where;
      EXPECT_EQ(result.text, item["text"].get<std::string>()) << where;
      EXPECT_EQ(spans_of(result), item["spans"]) << where;
    } catch (const DataError& error) {
      ASSERT_TRUE(item.contains("error")) << where << error.what();
      EXPECT_THAT(error.what(), HasSubstr(item["error"].get<std::string>())) << where;
    }
  }
}

}  // namespace
}  // namespace limbic::data
