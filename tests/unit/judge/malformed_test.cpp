// Replies of an endpoint with damage of every kind: errors of their own or verdicts inside their
// bounds, never a crash and never NaN.
#include <gtest/gtest.h>

#include <cmath>

#include "rewards/judge/chat_protocol.h"
#include "tests/unit/judge/judging.h"
#include "trainer/base/seed.h"

namespace limbic::rewards {
namespace {

constexpr int kReplies = 10'000;
const std::string kTicket = "cafe0123";

// A whole chat completion with log-probabilities; a token is up to 24 bytes.
std::string sound_body(const std::string& content) {
  Json tokens = Json::array();
  for (std::size_t at = 0; at < content.size(); at += 24) {
    const std::string text = content.substr(at, 24);
    Json bytes = Json::array();
    for (const char byte : text) bytes.push_back(static_cast<unsigned char>(byte));
    const Json likeliest = {{"token", text}, {"logprob", -0.25}};
    Json token = likeliest;
    token["bytes"] = std::move(bytes);
    token["top_logprobs"] =
        Json::array({likeliest, {{"token", "5"}, {"logprob", -2.5}, {"bytes", nullptr}}});
    tokens.push_back(std::move(token));
  }
  Json choice = {{"finish_reason", "stop"}};
  choice["message"]["content"] = content;
  choice["logprobs"]["content"] = std::move(tokens);
  return Json{{"choices", Json::array({choice})}, {"usage", {{"total_tokens", 7}}}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

// One to four wounds at random places.
std::string damaged(std::string text, Random& random) {
  static const std::vector<std::string> scraps = {"\"",
                                                  "{",
                                                  "}",
                                                  "[",
                                                  "]",
                                                  "\\",
                                                  "\xff",
                                                  "\xed\xa0\x80",
                                                  "null",
                                                  "NaN",
                                                  "-1",
                                                  "1e999",
                                                  ",",
                                                  ":",
                                                  "99999999999999999999",
                                                  std::string("\0", 1),
                                                  "\"empathy\":5,",
                                                  "5",
                                                  "true"};
  for (std::uint64_t wounds = 1 + random.below(4); wounds > 0 && !text.empty(); --wounds) {
    const std::size_t at = random.below(text.size());
    switch (random.below(5)) {
      case 0:
        text[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        text.erase(at, 1 + random.below(40));
        break;
      case 2:
        text.insert(at, scraps[random.below(scraps.size())]);
        break;
      case 3:
        text.insert(at, text.substr(random.below(text.size()), random.below(60)));
        break;
      default:
        if (random.below(4) == 0) text.resize(at);
    }
  }
  return text;
}

TEST(Malformed, RepliesAreErrorsOrVerdictsInsideTheirBounds) {
  const Rubric rubric = mixed_rubric();
  EndpointConfig config;
  config.logprobs = true;
  const std::string content = mixed_reply(kTicket, "warm", 4, true, false, false);
  const std::string sound = sound_body(content);
  Random random(7);
  int errors = 0;
  int verdicts = 0;
  for (int i = 0; i < kReplies; ++i) {
    // Either the envelope is damaged or what stands in it.
    const ChatReply reply = read_chat_reply(
        config, i % 2 == 0 ? damaged(sound, random) : sound_body(damaged(content, random)));
    if (!reply.error.empty()) {
      ++errors;
      continue;
    }
    try {
      Verdict verdict = parse_verdict(rubric, kTicket, reply.content);
      take_expectations(rubric, reply.content, reply.tokens, verdict);
      ++verdicts;
      const double share = rubric_share(rubric, verdict, Aggregate::kMean);
      ASSERT_TRUE(std::isfinite(share) && share >= 0.0 && share <= 1.0) << reply.content;
    } catch (const VerdictError&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, kReplies / 2);
  EXPECT_GT(verdicts, 0);  // some wounds are in the reasons, or in fields that are not read
}

}  // namespace
}  // namespace limbic::rewards
