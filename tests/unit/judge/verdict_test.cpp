#include "rewards/judge/verdict.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/judge/judging.h"

namespace limbic::rewards {
namespace {

const std::string kTicket = "cafe0123";

std::string error_of(const std::string& content) {
  try {
    parse_verdict(mixed_rubric(), kTicket, content);
  } catch (const VerdictError& error) {
    return error.what();
  }
  return "no error";
}

std::string good() { return mixed_reply(kTicket, "warm", 4, true, false, false); }

std::string with(const std::string& from, const std::string& to) {
  std::string text = good();
  text.replace(text.find(from), from.size(), to);
  return text;
}

TEST(Verdict, ValuesStandInTheOrderOfTheItems) {
  const Verdict verdict = parse_verdict(mixed_rubric(), kTicket, " " + good() + "\n");
  EXPECT_EQ(verdict.values, (std::vector<double>{4, 1, 0, 0}));
  EXPECT_EQ(verdict.reasons, "warm");
}

TEST(Verdict, AnythingElseIsNoVerdict) {
  EXPECT_EQ(error_of(good()), "no error");
  for (const std::string& text :
       {std::string(), good() + good(), "```json\n" + good() + "\n```", "Sure: " + good(),
        good() + " I hope this helps.", "{" + good() + "}", std::string("\0", 1) + good()}) {
    EXPECT_NE(error_of(text).find("got no JSON object alone"), std::string::npos) << text;
  }
  EXPECT_EQ(error_of("5"), "got a plain value, want a JSON object");
  EXPECT_EQ(error_of("[" + good() + "]"), "got a list, want plain values");
  EXPECT_EQ(error_of(with("4", "4.0")), "empathy: got 4.0, want a whole number from 1 to 5");
  EXPECT_EQ(error_of(with("4", "\"4\"")), "empathy: got \"4\", want a whole number from 1 to 5");
  EXPECT_EQ(error_of(with("4", "6")), "empathy: got 6, want a whole number from 1 to 5");
  EXPECT_EQ(error_of(with("4", "-1")), "empathy: got -1, want a whole number from 1 to 5");
  EXPECT_EQ(error_of(with("4", "null")), "empathy: got null, want a whole number from 1 to 5");
  EXPECT_EQ(error_of(with("4", "18446744073709551621")),
            "empathy: got 1.8446744073709552e+19, want a whole number from 1 to 5");
  EXPECT_EQ(error_of(with("true", "1")), "asks: got 1, want true or false");
  EXPECT_EQ(error_of(with("\"warm\"", "7")), "reasons: got no string, want one");
  EXPECT_EQ(error_of(with("\"asks\"", "\"empathy\"")), "got 'empathy' twice, want it once");
  EXPECT_EQ(error_of(with("\"asks\"", "\"more\"")), "got no 'asks', want it");
  EXPECT_EQ(error_of(with("\"asks\"", "\"more\":1,\"asks\"")),
            "got an unknown key 'more', want none");
  EXPECT_EQ(error_of(with("4", "{\"value\":4}")),
            "got an object inside the reply, want plain values");
  EXPECT_EQ(error_of(with("4", "[4]")), "got a list, want plain values");
  EXPECT_EQ(error_of(with(kTicket, "cafe0124")), "got another ticket, want the one of the request");
  EXPECT_EQ(error_of(with("\"cafe0123\"", "123")),
            "got another ticket, want the one of the request");
  EXPECT_EQ(error_of(with("warm", std::string(70000, 'x'))),
            "got a reply of 70088 bytes, want at most 65536");
  EXPECT_NE(error_of(std::string(60000, '{')), "no error");
  EXPECT_NE(error_of(std::string(60000, '[')), "no error");
}

TEST(Verdict, TheSchemaIsStrictAndTheSameForAllRequests) {
  EXPECT_EQ(reply_schema(mixed_rubric()).dump(),
            R"({"type":"object","properties":{"reasons":{"type":"string"},)"
            R"("empathy":{"type":"integer","enum":[1,2,3,4,5]},"asks":{"type":"boolean"},)"
            R"("blames":{"type":"boolean"},"unsafe":{"type":"boolean"},)"
            R"("ticket":{"type":"string"}},)"
            R"("required":["reasons","empathy","asks","blames","unsafe","ticket"],)"
            R"("additionalProperties":false})");
}

TEST(RubricShare, IsTheWeightedMeanOfTheItems) {
  // ((4 - 1) / 4 * 3 + 1 + (1 - 0)) / 5 = 4.25 / 5
  const Verdict verdict = {{4, 1, 0, 0}, ""};
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), verdict, Aggregate::kMean), 0.85);
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), verdict, Aggregate::kMin), 0.75);
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), verdict, Aggregate::kProduct), 0.75);
  // Blames: 1 - 1 = 0.
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), {{4, 1, 1, 0}, ""}, Aggregate::kMean), 0.65);
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), {{4, 1, 1, 0}, ""}, Aggregate::kMin), 0.0);
}

TEST(RubricShare, AVetoHoldsItDown) {
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), {{5, 1, 0, 1}, ""}, Aggregate::kMean), 0.25);
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), {{1, 0, 1, 1}, ""}, Aggregate::kMean), 0.0);
  // One yes of two votes is enough, one of three is not.
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), {{5, 1, 0, 0.5}, ""}, Aggregate::kMean), 0.25);
  EXPECT_DOUBLE_EQ(rubric_share(mixed_rubric(), {{5, 1, 0, 1.0 / 3}, ""}, Aggregate::kMean), 1.0);
}

TEST(RubricShare, KardiasIsTheMeanOfSMinusOneOverFour) {
  // (0.75 + 1 + 0.5 + 0.25 + 1) / 5
  EXPECT_DOUBLE_EQ(rubric_share(Rubric::load("kardia"), {{4, 5, 3, 2, 5}, ""}, Aggregate::kMean),
                   0.7);
}

TEST(RubricShare, EmObserversCaps) {
  const Rubric rubric =
      Rubric::load("emobserver");  // consistency, contradiction, redundant, generic
  EXPECT_DOUBLE_EQ(rubric_share(rubric, {{5, 0, 1, 0}, ""}, Aggregate::kMean), 0.5);   // 3 of 5
  EXPECT_DOUBLE_EQ(rubric_share(rubric, {{5, 0, 0, 1}, ""}, Aggregate::kMean), 0.25);  // 2 of 5
  EXPECT_DOUBLE_EQ(rubric_share(rubric, {{5, 1, 0, 0}, ""}, Aggregate::kMean), 0.0);   // 1 of 5
  EXPECT_DOUBLE_EQ(rubric_share(rubric, {{2, 0, 1, 0}, ""}, Aggregate::kMean), 0.25);
}

TEST(RubricShare, MentrasIsTheShareWithoutViolation) {
  // concise, coherent, invented (no is good), on_task, self_contradiction (no is good)
  EXPECT_DOUBLE_EQ(rubric_share(Rubric::load("mentra"), {{1, 1, 1, 1, 0}, ""}, Aggregate::kMean),
                   0.8);
}

TEST(Votes, AreAveragedItemByItem) {
  const std::vector<Verdict> votes = {{{5, 1, 0, 0}, "a"}, {{2, 0, 0, 1}, "b"}};
  EXPECT_EQ(mean_verdict(votes), (Verdict{{3.5, 0.5, 0, 0.5}, "a"}));
}

TEST(Votes, AgreementIsOneMinusTheMeanDistance) {
  EXPECT_DOUBLE_EQ(agreement(std::vector<double>{0.5, 0.5}), 1.0);
  EXPECT_DOUBLE_EQ(agreement(std::vector<double>{0.0, 1.0}), 0.0);
  // Distances 0.5, 1, 0.5.
  EXPECT_NEAR(agreement(std::vector<double>{0.0, 0.5, 1.0}), 1.0 / 3, 1e-12);
}

class Expectation : public testing::Test {
 protected:
  // The reply as tokens; the value of `empathy` is the token " 4".
  std::vector<TokenChoice> tokens() const {
    const std::size_t at = content.find("4");
    return {{content.substr(0, at - 1), {}},
            {content.substr(at - 1, 2),
             {{":4", std::log(0.5)}, {":5", std::log(0.3)}, {":2", std::log(0.1)}, {" 4", -3.0}}},
            {content.substr(at + 1), {}}};
  }
  Rubric rubric = rubric_of("about: x\naxes: [{name: empathy, question: q}]\n");
  std::string content = R"({"reasons":"\"empathy\": 5","empathy":4,"ticket":"cafe0123"})";
  Verdict verdict = parse_verdict(rubric, kTicket, content);
};

TEST_F(Expectation, IsTakenOverTheValuesAtTheirToken) {
  take_expectations(rubric, content, tokens(), verdict);
  // (0.5 x 4 + 0.3 x 5 + 0.1 x 2) / 0.9
  EXPECT_NEAR(verdict.values[0], 3.7 / 0.9, 1e-12);
}

TEST_F(Expectation, PassesOverWhatIsNoValue) {
  std::vector<TokenChoice> list = tokens();
  list[1].alternatives = {{":4", std::log(0.6)},
                          {":9", std::log(0.2)},
                          {":45", std::log(0.1)},
                          {":x", std::log(0.05)},
                          {":", std::log(0.05)}};
  take_expectations(rubric, content, list, verdict);
  EXPECT_DOUBLE_EQ(verdict.values[0], 4.0);
}

TEST_F(Expectation, NeedsHalfOfTheProbability) {
  std::vector<TokenChoice> list = tokens();
  list[1].alternatives = {{":4", std::log(0.3)}, {":x", std::log(0.7)}};
  EXPECT_THROW(take_expectations(rubric, content, list, verdict), VerdictError);
  list[1].alternatives.clear();
  EXPECT_THROW(take_expectations(rubric, content, list, verdict), VerdictError);
}

TEST_F(Expectation, TokensMustBeThoseOfTheReply) {
  std::vector<TokenChoice> list = tokens();
  list.pop_back();
  EXPECT_THROW(take_expectations(rubric, content, list, verdict), VerdictError);
}

TEST_F(Expectation, OfYesAndNo) {
  rubric = rubric_of("about: x\ncriteria: [{name: asks, question: q}]\n");
  content = R"({"reasons":"","asks":true,"ticket":"cafe0123"})";
  verdict = parse_verdict(rubric, kTicket, content);
  const std::size_t at = content.find("true");
  const std::vector<TokenChoice> list = {
      {content.substr(0, at), {}},
      {"true", {{"true", std::log(0.6)}, {"f", std::log(0.15)}, {"TRUE", std::log(0.2)}}},
      {content.substr(at + 4), {}}};
  take_expectations(rubric, content, list, verdict);
  EXPECT_NEAR(verdict.values[0], 0.8, 1e-12);
}

}  // namespace
}  // namespace limbic::rewards
