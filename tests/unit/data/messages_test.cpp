#include "data/messages.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using test::message_of;

Row row_of(const std::string& json) { return {Json::parse(json), "f.jsonl", 4}; }

std::string build(const std::string& json, bool with_response = true,
                  const DatasetConfig& config = {}) {
  return build_messages(row_of(json), config, with_response).dump();
}

std::string error_of(const std::string& json, bool with_response = true,
                     const DatasetConfig& config = {}) {
  return message_of<DataError>([&] { build(json, with_response, config); });
}

TEST(Messages, TakesTheMessagesColumnAsItIs) {
  const std::string turns =
      R"([{"role":"user","content":"hi","name":"Al"},{"role":"assistant","content":"yo"}])";
  EXPECT_EQ(build("{\"label\":\"x\",\"messages\":" + turns + "}"), turns);
}

TEST(Messages, DropsTheClosingAssistantTurnWhenOnlyThePromptIsWanted) {
  EXPECT_EQ(build(R"({"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"b"},
                      {"role":"assistant","content":"c"}]})",
                  false),
            R"([{"role":"assistant","content":"a"},{"role":"user","content":"b"}])");
  EXPECT_EQ(error_of(R"({"messages":[{"role":"assistant","content":"a"}]})", false),
            "f.jsonl:4: got no turn to answer, want a user's turn");
}

TEST(Messages, ReadsPromptAndCompletionAsStrings) {
  const std::string row = R"({"prompt":"q","completion":"a"})";
  EXPECT_EQ(build(row), R"([{"role":"user","content":"q"},{"role":"assistant","content":"a"}])");
  EXPECT_EQ(build(row, false), R"([{"role":"user","content":"q"}])");
}

TEST(Messages, ReadsPromptAndCompletionAsLists) {
  const std::string row = R"({"prompt":[{"role":"system","content":"s"},
      {"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]})";
  EXPECT_EQ(build(row), R"([{"role":"system","content":"s"},{"role":"user","content":"q"},)"
                        R"({"role":"assistant","content":"a"}])");
  EXPECT_EQ(build(row, false),
            R"([{"role":"system","content":"s"},{"role":"user","content":"q"}])");
}

TEST(Messages, RefusesAPromptThatEndsWithTheAssistant) {
  EXPECT_EQ(error_of(R"({"prompt":[{"role":"assistant","content":"a"}]})", false),
            "f.jsonl:4: got a prompt that ends with the assistant's turn, want another turn last");
}

TEST(Messages, BuildsFromTemplates) {
  DatasetConfig config;
  config.system = "Be brief.";
  config.prompt = "Feeling of: {text}";
  config.response = "{label}!";
  const std::string row = R"({"text":"yay","label":"joy"})";
  EXPECT_EQ(
      build(row, true, config),
      R"([{"role":"system","content":"Be brief."},{"role":"user","content":"Feeling of: yay"},)"
      R"({"role":"assistant","content":"joy!"}])");
  // The response's column is not needed where the model answers itself.
  EXPECT_EQ(
      build(R"({"text":"yay"})", false, config),
      R"([{"role":"system","content":"Be brief."},{"role":"user","content":"Feeling of: yay"}])");
  EXPECT_EQ(error_of(R"({"text":"yay"})", true, config),
            "f.jsonl:4: got no column 'label', want it for 'response:'; the row has text");
}

TEST(Messages, AppendsTheResponseToMessages) {
  DatasetConfig config;
  config.response = "{label}";
  EXPECT_EQ(build(R"({"messages":[{"role":"user","content":"q"}],"label":"joy"})", true, config),
            R"([{"role":"user","content":"q"},{"role":"assistant","content":"joy"}])");
  EXPECT_EQ(error_of(R"({"prompt":"q","messages":[{"role":"user","content":"q"},
                         {"role":"assistant","content":"a"}],"label":"joy"})",
                     true, config),
            "f.jsonl:4: got a row that ends with the assistant's turn and 'response:', want one");
}

TEST(Messages, RefusesASecondSystemMessage) {
  DatasetConfig config;
  config.system = "s";
  EXPECT_EQ(error_of(R"({"messages":[{"role":"system","content":"t"},
                         {"role":"assistant","content":"a"}]})",
                     true, config),
            "f.jsonl:4: got a system message in the row and a second one from 'system', want one");
}

TEST(Messages, WantsAnAssistantTurnToTrainOn) {
  EXPECT_EQ(error_of(R"({"prompt":"q"})"),
            "f.jsonl:4: got no assistant's turn, want one to train on; set 'response:' or add it");
}

TEST(Messages, TranslatesShareGpt) {
  EXPECT_EQ(build(R"({"system":"s","conversations":[{"from":"human","value":"q"},
      {"from":"function_call","value":"{\"name\":\"f\",\"arguments\":{\"x\":1}}"},
      {"from":"observation","value":"7"},{"from":"gpt","value":"a"}]})"),
            R"([{"role":"system","content":"s"},{"role":"user","content":"q"},)"
            R"({"role":"assistant","content":"","tool_calls":[{"type":"function",)"
            R"("function":{"name":"f","arguments":{"x":1}}}]},)"
            R"({"role":"tool","content":"7"},{"role":"assistant","content":"a"}])");
  EXPECT_EQ(error_of(R"({"conversations":[{"from":"bing","value":"q"}]})"),
            "f.jsonl:4: got 'bing' in conversations[0].from, want human, gpt, system, observation "
            "or function_call");
  EXPECT_EQ(error_of(R"({"conversations":[{"from":"function_call","value":"f 1"
}]
})"),
            "f.jsonl:4: got a function_call that is no JSON of {name, arguments}, want one");
}

TEST(Messages, TranslatesAlpaca) {
  const std::string row = R"({"instruction":"Translate.","input":"chat","output":"cat",
      "system":"s","history":[["a","b"]]})";
  const std::string before = R"([{"role":"system","content":"s"},{"role":"user","content":"a"},)"
                             R"({"role":"assistant","content":"b"},)"
                             R"({"role":"user","content":"Translate.\nchat"})";
  EXPECT_EQ(build(row), before + R"(,{"role":"assistant","content":"cat"}])");
  EXPECT_EQ(build(row, false), before + "]");
  EXPECT_EQ(build(R"({"instruction":"Go.","input":"","output":"ok"})", false),
            R"([{"role":"user","content":"Go."}])");
}

TEST(Messages, ReturnsPlainTextAsAString) {
  EXPECT_EQ(build(R"({"text":"once","label":"x"})"), "\"once\"");
  DatasetConfig config;
  config.response = "{label}";
  EXPECT_EQ(error_of(R"({"text":"once","label":"x"})", true, config),
            "f.jsonl:4: got plain text with 'system:' or 'response:', want a 'prompt:' template "
            "too");
}

// What is said before the replies is the prompt; what is learned is the chosen conversation.
TEST(Messages, TakesThePromptOfAPair) {
  const std::string before = R"({"role":"user","content":"a"},{"role":"assistant","content":"b"},)"
                             R"({"role":"user","content":"c"})";
  const std::string row = R"({"chosen":[)" + before + R"(,{"role":"assistant","content":"x"}],)" +
                          R"("rejected":[)" + before + R"(,{"role":"assistant","content":"y"}]})";
  EXPECT_EQ(build(row, false), "[" + before + "]");
  EXPECT_EQ(build(row), "[" + before + R"(,{"role":"assistant","content":"x"}])");
  EXPECT_EQ(error_of(R"({"chosen":"x","rejected":"y"})"),
            "f.jsonl:4: got the string \"x\" in column 'chosen', want a list of messages");
}

TEST(Messages, NamesWhatIsMissing) {
  EXPECT_EQ(error_of(R"({"a":1,"b":2})"),
            "f.jsonl:4: got no column 'messages', want one of messages, prompt, conversations, "
            "instruction, text, or a 'prompt:' template; the row has a, b");
  DatasetConfig config;
  config.columns = {{"messages", "chat"}};
  EXPECT_EQ(error_of(R"({"text":"x"})", true, config),
            "f.jsonl:4: got no column 'messages', want the file's 'chat' for it (columns); the row "
            "has text");
}

TEST(Messages, NamesWrongTypes) {
  EXPECT_EQ(error_of(R"({"messages":"hi"})"),
            "f.jsonl:4: got the string \"hi\" in column 'messages', want a list of messages");
  EXPECT_EQ(error_of(R"({"messages":[]})"),
            "f.jsonl:4: got an empty list in column 'messages', want a list of messages");
  EXPECT_EQ(error_of(R"({"messages":[3]})"),
            "f.jsonl:4: got the number 3 in messages[0], want a message");
  EXPECT_EQ(error_of(R"({"messages":[{"content":"x"}]})"),
            "f.jsonl:4: got no role in messages[0], want one");
  EXPECT_EQ(error_of(R"({"messages":[{"role":"user","content":{}}]})"),
            "f.jsonl:4: got an object in messages[0].content, want a string or a list of parts");
  EXPECT_EQ(error_of(R"({"prompt":5})"),
            "f.jsonl:4: got the number 5 in column 'prompt', want a list of messages");
  EXPECT_EQ(error_of(R"({"text":[1]})"), "f.jsonl:4: got a list in column 'text', want a string");
}

TEST(Messages, GivesEveryOtherColumnToTheRewards) {
  const auto columns = reward_columns(
      row_of(R"({"prompt":"q","label":"joy","n":3,"l":["a",1],"none":null,"messages":[],
                 "completion":"c","text":"é"})"));
  const std::vector<std::pair<std::string, std::string>> wanted{
      {"label", "joy"}, {"n", "3"}, {"l", "[\"a\",1]"}, {"text", "é"}};
  EXPECT_EQ(columns, wanted);
}

}  // namespace
}  // namespace limbic::data
