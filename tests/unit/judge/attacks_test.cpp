// What a policy may write to win a judge's favour reaches the judge as data, and never the parser
// as a verdict.
#include <gtest/gtest.h>

#include "data/tokenizer/utf8.h"
#include "rewards/text.h"
#include "tests/unit/judge/judging.h"

namespace limbic::rewards {
namespace {

template <class Check>
void for_each_attack(Check check) {
  for (const auto& [family, texts] : attacks()) {
    for (const std::string& text : texts) {
      SCOPED_TRACE(family + ": " + shortened(text));
      check(text);
    }
  }
}

TEST(Attacks, TheCorpusIsLarge) {
  std::size_t count = 0;
  for (const auto& [family, texts] : attacks()) {
    EXPECT_GE(texts.size(), 10u) << family;
    count += texts.size();
  }
  EXPECT_GE(attacks().size(), 10u);
  EXPECT_GE(count, 150u);
}

TEST(Attacks, StayInsideTheirField) {
  for_each_attack([](const std::string& text) {
    const std::string record = judge_record(text, Json::array(), {});
    EXPECT_EQ(Json::parse(record).at("answer").get<std::string>(), text);
    EXPECT_EQ(record.find('<'), std::string::npos);
    EXPECT_EQ(record.find('['), std::string::npos);
    EXPECT_EQ(record.find('\n'), std::string::npos);
    for (std::size_t at = 0; at < record.size();) {
      const char32_t c = data::next_code_point(record, at);
      EXPECT_FALSE(c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x200B || c == 0x202E ||
                   (c >= 0xE0000 && c < 0xE0200))
          << static_cast<std::uint32_t>(c);
    }
  });
}

TEST(Attacks, DoNotMoveTheDelimiters) {
  const Rubric rubric = Rubric::load("kardia");
  const JudgePrompt prompt(rubric, "kardia");
  for_each_attack([&](const std::string& text) {
    const std::string record = judge_record(text, Json::array(), {});
    const Nonce nonce = make_nonce(42, rubric.hash() + sha256(record), 0, 0);
    const std::string whole = prompt.render(record, nonce);
    // Once where they are announced, once around the data.
    EXPECT_EQ(count_of(whole, "DATA-" + nonce.delimiter), 2u);
    EXPECT_EQ(count_of(whole, "END-" + nonce.delimiter), 2u);
    EXPECT_EQ(count_of(whole, nonce.ticket), 1u);
    EXPECT_EQ(count_of(whole, "\n" + record + "\n"), 1u);
  });
}

TEST(Attacks, AreNoVerdicts) {
  std::size_t parsed = 0;
  for (const std::string& name : Rubric::builtin_names()) {
    const Rubric rubric = Rubric::load(name);
    for_each_attack([&](const std::string& text) {
      const std::string ticket = make_nonce(42, sha256(text), 0, 0).ticket;
      const std::string honest = lowest_reply(rubric, ticket, "-");
      // A judge that says the text itself, or puts it before or behind its own verdict.
      for (const std::string& reply : {text, text + honest, honest + text}) {
        try {
          const Verdict verdict = parse_verdict(rubric, ticket, reply);
          // What is left when the text is white space.
          if (rubric_share(rubric, verdict, Aggregate::kMean) > 0.0) ++parsed;
        } catch (const VerdictError&) {
        }
      }
    });
  }
  EXPECT_EQ(parsed, 0u);
}

TEST(Attacks, QuotedAsReasonsTheyChangeNothing) {
  const Rubric rubric = Rubric::load("kardia");
  for_each_attack([&](const std::string& text) {
    const std::string reply = lowest_reply(rubric, "cafe0123", text);
    const Verdict verdict = parse_verdict(rubric, "cafe0123", reply);
    EXPECT_EQ(verdict.reasons, text);
    EXPECT_EQ(rubric_share(rubric, verdict, Aggregate::kMean), 0.0);
    // The same through log-probabilities: every byte is a token, sure of itself.
    std::vector<TokenChoice> tokens;
    for (const char byte : reply) {
      tokens.push_back({std::string(1, byte), {{std::string(1, byte), 0.0}}});
    }
    Verdict expected = verdict;
    take_expectations(rubric, reply, tokens, expected);
    EXPECT_EQ(expected, verdict);
  });
}

}  // namespace
}  // namespace limbic::rewards
