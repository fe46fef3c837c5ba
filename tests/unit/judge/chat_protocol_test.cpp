#include "rewards/judge/chat_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "rewards/judge/chat_endpoint.h"
#include "tests/unit/judge/judging.h"

namespace limbic::rewards {
namespace {

using testing::HasSubstr;
using testing::Not;

EndpointConfig endpoint_of(const std::string& yaml) {
  EndpointConfig config;
  YamlDocument::parse("{url: 'http://h/v1', model: m" + yaml + "}", "e.yaml").read(config);
  return config;
}

std::string error_of(const std::string& yaml) {
  try {
    EndpointConfig config;
    YamlDocument::parse(yaml, "e.yaml").read(config);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(EndpointOptions, WhatIsWrongIsNamed) {
  EXPECT_THAT(error_of("model: m\n"), HasSubstr("url: got '', want http(s)://"));
  for (const std::string url : {"ftp://h", "http://h/v1/", "http://user@h/v1", "http://h/v1?a=b",
                                "\"http://h/v1\\r\\nX: y\"", "h:80"}) {
    EXPECT_THAT(error_of("url: " + url + "\nmodel: m\n"), HasSubstr("e.yaml:1: url: got")) << url;
  }
  EXPECT_THAT(error_of("url: http://h/v1\n"), HasSubstr("model: got nothing"));
  EXPECT_THAT(error_of("{url: 'http://h/v1', model: m, extra: {seed: 1}}"),
              HasSubstr("extra: got 'seed', want only fields that have no key of their own"));
  EXPECT_THAT(error_of("{url: 'http://h/v1', model: m, extra: 7}"), HasSubstr("extra: got"));
  EXPECT_THAT(error_of("{url: 'http://h/v1', model: m, concurrency: 0}"), HasSubstr("got 0, want"));
}

TEST(ApiKey, StandsInNoFileOfSettings) {
  const std::string error = error_of("{url: 'http://h/v1', model: m, api_key: sk-secret}");
  EXPECT_THAT(error, HasSubstr("api_key: got something else, want env:NAME or file:PATH"));
  EXPECT_THAT(error, Not(HasSubstr("sk-secret")));
}

TEST(ApiKey, IsReadFromTheEnvironmentButNeverWrittenBack) {
  setenv("LIMBIC_TEST_KEY", "sk-secret", 1);
  const EndpointConfig config = endpoint_of(", api_key: 'env:LIMBIC_TEST_KEY'");
  EXPECT_EQ(resolve_api_key(config.api_key, "here"), "sk-secret");
  EXPECT_THAT(YamlWriter().write(config), HasSubstr("env:LIMBIC_TEST_KEY"));
  EXPECT_THAT(YamlWriter().write(config), Not(HasSubstr("sk-secret")));
  setenv("LIMBIC_TEST_KEY", "sk\r\nX: y", 1);
  EXPECT_THROW(resolve_api_key(config.api_key, "here"), ConfigError);
  unsetenv("LIMBIC_TEST_KEY");
  EXPECT_THROW(resolve_api_key(config.api_key, "here"), ConfigError);
  EXPECT_EQ(resolve_api_key(Json(), "here"), "");
}

TEST(ApiKey, AFileIsForItsOwnerAlone) {
  using std::filesystem::perms;
  const std::string path =
      (std::filesystem::temp_directory_path() / ("limbic_key_" + std::to_string(getpid())))
          .string();
  write_file_atomically(path, "sk-secret\n");
  std::filesystem::permissions(path, perms::owner_read | perms::owner_write);
  EXPECT_EQ(resolve_api_key("file:" + path, "here"), "sk-secret");
  std::filesystem::permissions(path, perms::owner_read | perms::group_read);
  EXPECT_THROW(resolve_api_key("file:" + path, "here"), ConfigError);
  std::filesystem::remove(path);
  EXPECT_THROW(resolve_api_key("file:" + path, "here"), ConfigError);
}

TEST(ApiKey, IsTakenOutOfWhatServersSay) {
  EXPECT_EQ(outcome_text({401, "", "bad key sk-secret, sk-secret", {}}, "sk-secret"),
            "status 401: bad key [key], [key]");
  EXPECT_EQ(outcome_text({0, "no route", "", {}}, ""), "no route");
  EXPECT_EQ(outcome_text({500, "", "", {}}, "k"), "status 500");
}

TEST(ChatBody, HoldsWhatTheApiWants) {
  const EndpointConfig config = endpoint_of(", max_tokens: 99, logprobs: true, extra: {top_k: 1}");
  const Json body =
      Json::parse(chat_body(config, {"Rate \"x\"", {{"type", "object"}}, 1ull << 40}));
  EXPECT_EQ(body.dump(),
            R"({"top_k":1,"model":"m","messages":[{"role":"user","content":"Rate \"x\""}],)"
            R"("temperature":0.0,"max_tokens":99,"seed":0,"logprobs":true,"top_logprobs":20,)"
            R"("response_format":{"type":"json_schema","json_schema":{"name":"verdict",)"
            R"("strict":true,"schema":{"type":"object"}}}})");
  EXPECT_FALSE(Json::parse(chat_body(endpoint_of(", response_format: none"), {"x", {}, 1}))
                   .contains("response_format"));
}

TEST(ChatBody, TokensAreExpectedFromBytes) {
  EXPECT_EQ(expected_tokens(endpoint_of(", max_tokens: 100"), {std::string(400, 'x'), {}, 1}), 200);
}

std::string reply_error(const std::string& body, const std::string& options = "") {
  return read_chat_reply(endpoint_of(options), body).error;
}

TEST(ChatReplies, GiveContentAndCost) {
  const ChatReply reply = read_chat_reply(
      endpoint_of(""), R"({"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],)"
                       R"("usage":{"total_tokens":7}})");
  EXPECT_EQ(reply.content, "yes");
  EXPECT_EQ(reply.spent, 7);
  EXPECT_EQ(reply.error, "");
}

TEST(ChatReplies, GiveLogProbabilitiesByBytesWhereThereAreAny) {
  const ChatReply reply = read_chat_reply(
      endpoint_of(", logprobs: true"),
      R"({"choices":[{"message":{"content":"yé"},"logprobs":{"content":[)"
      R"({"token":"y","logprob":-0.5,"top_logprobs":[{"token":"y","logprob":-0.5}]},)"
      R"({"token":"?","bytes":[195,169],"logprob":0,"top_logprobs":[]}]}}]})");
  ASSERT_EQ(reply.tokens.size(), 2u);
  EXPECT_EQ(reply.tokens[0].alternatives.at(0), (std::pair<std::string, double>{"y", -0.5}));
  EXPECT_EQ(reply.tokens[1].text, "é");
}

TEST(ChatReplies, WhatIsMalformedIsAnError) {
  const std::string none = "got no JSON object from the endpoint, want a chat completion";
  EXPECT_EQ(reply_error(""), none);
  EXPECT_EQ(reply_error("<html>"), none);
  EXPECT_EQ(reply_error("[]"), none);
  EXPECT_EQ(reply_error(std::string(100000, '[')), none);
  EXPECT_EQ(reply_error(R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}"), none);
  EXPECT_EQ(reply_error("{}"), "got 0 choices, want 1");
  EXPECT_EQ(reply_error(R"({"choices":[]})"), "got 0 choices, want 1");
  EXPECT_EQ(reply_error(R"({"choices":[{},{}]})"), "got 2 choices, want 1");
  EXPECT_EQ(reply_error(R"({"choices":["x"]})"), "got no content, want text");
  EXPECT_EQ(reply_error(R"({"choices":[{"message":{"content":null}}]})"),
            "got no content, want text");
  EXPECT_EQ(reply_error(R"({"choices":[{"message":{"content":"","refusal":"no"}}]})"),
            "got a refusal, want a verdict");
  EXPECT_EQ(reply_error(R"({"choices":[{"finish_reason":"length","message":{"content":"{"}}]})"),
            "got a reply cut at max_tokens = 512, want a whole one");
}

TEST(ChatReplies, WhatIsMalformedInLogProbabilitiesIsAnError) {
  const auto error = [](const std::string& content) {
    return reply_error(
        R"({"choices":[{"message":{"content":"y"},"logprobs":{"content":)" + content + "}}]}",
        ", logprobs: true");
  };
  EXPECT_THAT(error("[]"), HasSubstr("got no log-probabilities, want them"));
  EXPECT_THAT(error("null"), HasSubstr("got no log-probabilities, want them"));
  EXPECT_EQ(error("[{}]"), "got a log-probability without a token");
  EXPECT_EQ(error(R"([{"bytes":[300]}])"), "got bytes of a token that are none");
  EXPECT_EQ(error(R"([{"token":"y","top_logprobs":[{"token":"y","logprob":0.5}]}])"),
            "got a log-probability above 0, want one of at most 0");
  EXPECT_EQ(error(R"([{"token":"y","top_logprobs":[{"token":"y"}]}])"),
            "got a log-probability above 0, want one of at most 0");
}

TEST(Meanings, OfOutcomes) {
  const auto meaning = [](int status, std::optional<double> retry = {}) {
    return meaning_of({status, "", "", retry});
  };
  EXPECT_EQ(meaning(200), Meaning::kAnswer);
  EXPECT_EQ(meaning(429), Meaning::kBusy);
  EXPECT_EQ(meaning(503, 2.0), Meaning::kBusy);
  for (const int status : {0, 408, 409, 425, 500, 502, 503, 504}) {
    EXPECT_EQ(meaning(status), Meaning::kTryAgain) << status;
  }
  for (const int status : {400, 413, 422}) EXPECT_EQ(meaning(status), Meaning::kRefused) << status;
  for (const int status : {204, 301, 401, 403, 404, 405}) {
    EXPECT_EQ(meaning(status), Meaning::kGiveUp) << status;
  }
}

TEST(EndpointIdentity, IsWhatDecidesTheAnswers) {
  const auto identity = [](const std::string& options) {
    return ChatEndpoint("local", endpoint_of(options), 1).identity();
  };
  EXPECT_EQ(identity(""), identity(", deadline_s: 5, concurrency: 2, tokens_per_minute: 10"));
  for (const std::string options : {", temperature: 1", ", max_tokens: 99", ", logprobs: true",
                                    ", response_format: none", ", extra: {a: 1}"}) {
    EXPECT_NE(identity(""), identity(options)) << options;
  }
}

}  // namespace
}  // namespace limbic::rewards
