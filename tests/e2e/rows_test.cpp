// The commands that turn rows into rows: tokenize, logprobs, generate, score.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/workplace.h"
#include "trainer/base/file.h"

namespace limbic::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Rows : public testing::Test {
 protected:
  // Runs a command on in.jsonl; what it wrote to out.jsonl.
  std::vector<Json> run(const std::string& command, const std::vector<Json>& rows,
                        const std::vector<std::string>& options = {}) {
    place_.write_rows("in.jsonl", rows);
    expect_ok(run_limbic(arguments(command, options)));
    return place_.read_rows("out.jsonl");
  }
  std::vector<std::string> arguments(const std::string& command,
                                     const std::vector<std::string>& options = {}) {
    std::vector<std::string> all = {command,
                                    "--model",
                                    place_.model(),
                                    "--input",
                                    place_.file("in.jsonl"),
                                    "--output",
                                    place_.file("out.jsonl")};
    all.insert(all.end(), options.begin(), options.end());
    return all;
  }

  Workplace place_;
};

std::vector<Json> texts(int count) {
  std::vector<Json> rows;
  for (int i = 0; i < count; ++i) rows.push_back({{"prompt", "row " + std::to_string(i)}});
  return rows;
}

TEST_F(Rows, TokenizeGivesIdsOfTextsAndMasksOfChats) {
  const Json chat = Json::array(
      {{{"role", "user"}, {"content", "hi"}}, {{"role", "assistant"}, {"content", "ok"}}});
  const auto rows = run("tokenize", {{{"text", "hi"}}, {{"messages", chat}}});
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].at("ids").size(), 2U);
  EXPECT_FALSE(rows[0].contains("assistant_mask"));
  EXPECT_EQ(rows[1].at("text"),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nok<|im_end|>\n");
  const Json& ids = rows[1].at("ids");
  const Json& mask = rows[1].at("assistant_mask");
  ASSERT_EQ(mask.size(), ids.size());
  std::vector<std::int32_t> learned;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (mask[i] == 1) learned.push_back(ids[i]);
  }
  const auto reply = run("tokenize", {{{"text", "ok<|im_end|>"}}});
  EXPECT_EQ(Json(learned), reply[0].at("ids"));
}

TEST_F(Rows, TokenizeGivesNoMaskWhereTheTurnsCannotBeTold) {
  const Json chat = Json::array(
      {{{"role", "user"}, {"content", "hi"}}, {{"role", "assistant"}, {"content", "ok"}}});
  const std::string mute =
      place_.write("mute.jinja", "{% for m in messages | reverse %}{{ m.role }}{% endfor %}");
  const auto rows = run("tokenize", {{{"messages", chat}}}, {"--chat-template", mute});
  EXPECT_EQ(rows[0].at("text"), "assistantuser");
  EXPECT_TRUE(rows[0].at("assistant_mask").is_null());
  const auto plain = run("tokenize", {{{"text", "assistantuser"}}});
  EXPECT_EQ(rows[0].at("ids"), plain[0].at("ids"));
}

TEST_F(Rows, FieldsAreCopiedWithTheirSpellingAndTheOrderIsKept) {
  std::string text;
  for (int i = 0; i < 20; ++i) {
    text += R"({"id": 9007199254740993, "x": 1.50, "e": 1E5, "text": "row )" + std::to_string(i) +
            "\", \"at\": " + std::to_string(i) + "}\n";
  }
  place_.write("in.jsonl", text);
  expect_ok(run_limbic({"tokenize", "--model", place_.model(), "--input", place_.file("in.jsonl"),
                        "--output", place_.file("out.jsonl")}));
  const std::string written = read_file(place_.file("out.jsonl"));
  EXPECT_THAT(written, HasSubstr("9007199254740993"));
  EXPECT_THAT(written, HasSubstr("1.50"));
  EXPECT_THAT(written, HasSubstr("1E5"));
  const auto rows = place_.read_rows("out.jsonl");
  ASSERT_EQ(rows.size(), 20U);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(rows[static_cast<std::size_t>(i)].at("at"), i);
}

TEST_F(Rows, GreedyGenerationIsTheSameEveryTimeAndInAnyBatch) {
  const std::vector<std::string> greedy = {"--temperature",    "0", "--dtype", "float32",
                                           "--max-new-tokens", "12"};
  const auto once = run("generate", texts(7), greedy);
  EXPECT_EQ(once, run("generate", texts(7), greedy));
  auto small = greedy;
  small.insert(small.end(), {"--batch", "2"});
  const auto batched = run("generate", texts(7), small);
  ASSERT_EQ(batched.size(), once.size());
  for (std::size_t i = 0; i < once.size(); ++i) {
    EXPECT_EQ(batched[i]["completions"][0]["ids"], once[i]["completions"][0]["ids"]);
  }
}

TEST_F(Rows, SampledGenerationFollowsTheSeed) {
  const auto draw = [&](const char* seed) {
    return run("generate", texts(3), {"--n", "4", "--max-new-tokens", "8", "--seed", seed});
  };
  const auto first = draw("1");
  ASSERT_EQ(first.size(), 3U);
  for (const Json& row : first) {
    ASSERT_EQ(row.at("completions").size(), 4U);
    EXPECT_NE(row["completions"][0]["ids"], row["completions"][1]["ids"]);
    for (const Json& completion : row["completions"]) {
      EXPECT_EQ(completion.at("ids").size(), completion.at("logprobs").size());
      EXPECT_EQ(completion.at("ids").size(), completion.at("sampling_logprobs").size());
    }
  }
  EXPECT_EQ(first, draw("1"));
  EXPECT_NE(first, draw("2"));
}

// With every token as end token a completion is one token long, unless the end is ignored.
TEST_F(Rows, GenerationStopsAtTheEndTokenUnlessItIsIgnored) {
  Json config = place_.read_json("model/config.json");
  Json every = Json::array();
  for (int id = 0; id < config.at("vocab_size").get<int>(); ++id) every.push_back(id);
  config["eos_token_id"] = every;
  place_.write("model/config.json", config.dump());
  const auto stopped = run("generate", texts(2), {"--max-new-tokens", "6"});
  for (const Json& row : stopped) {
    const Json& completion = row.at("completions")[0];
    EXPECT_EQ(completion.at("finish_reason"), "stop");
    EXPECT_EQ(completion.at("ids").size(), 1U);
    EXPECT_EQ(completion.at("text"), "");
  }
  const auto ignored = run("generate", texts(2), {"--max-new-tokens", "6", "--ignore-eos"});
  for (const Json& row : ignored) {
    EXPECT_EQ(row.at("completions")[0].at("finish_reason"), "length");
    EXPECT_EQ(row.at("completions")[0].at("ids").size(), 6U);
  }
}

// The cached decoding of generate and the packed pass of logprobs are one model.
TEST_F(Rows, LogprobsAreThoseOfGenerate) {
  const auto prompt_ids = run("tokenize", {{{"text", "colour of the sea"}}})[0].at("ids");
  const auto generated =
      run("generate", {{{"ids", prompt_ids}}},
          {"--n", "3", "--max-new-tokens", "20", "--temperature", "0.8", "--dtype", "float32"});
  std::vector<Json> sequences;
  for (const Json& completion : generated[0]["completions"]) {
    Json ids = prompt_ids;
    for (const Json& id : completion["ids"]) ids.push_back(id);
    sequences.push_back({{"ids", ids}});
  }
  const auto scored = run("logprobs", sequences, {"--dtype", "float32"});
  ASSERT_EQ(scored.size(), 3U);
  for (std::size_t i = 0; i < scored.size(); ++i) {
    const Json& all = scored[i].at("logprobs");
    ASSERT_EQ(all.size() + 1, scored[i].at("ids").size());
    const Json& own = generated[0]["completions"][i]["logprobs"];
    const std::size_t skipped = all.size() - own.size();
    for (std::size_t t = 0; t < own.size(); ++t) {
      EXPECT_NEAR(all[skipped + t].get<double>(), own[t].get<double>(), 1e-4);
    }
  }
}

TEST_F(Rows, LogprobsTakesChats) {
  const Json chat = Json::array({{{"role", "user"}, {"content", "hi"}}});
  const auto rows = run("logprobs", {{{"messages", chat}, {"id", 3}}});
  EXPECT_EQ(rows[0].at("ids"), run("tokenize", {{{"messages", chat}}})[0].at("ids"));
  EXPECT_EQ(rows[0].at("id"), 3);
  for (const Json& value : rows[0].at("logprobs")) EXPECT_LT(value.get<double>(), 0.0);
}

// Two words are scored, a row without label does not apply, and tokens cannot be counted without
// ids.
TEST_F(Rows, ScoreTellsTheThreeOutcomesApart) {
  const std::string rewards = place_.write("rewards.yaml", R"(rewards:
  graph:
    combine: sum
    terms:
      - {name: words, type: length, min: 1, max: 2, unit: words, weight: 0.5}
      - {name: right, type: label, column: label}
      - {name: tokens, type: length, max: 9, unit: tokens}
)");
  place_.write_rows(
      "in.jsonl",
      {{{"prompt", "p"}, {"completions", {"Joy!", "three words here"}}, {"label", "joy"}},
       {{"prompt", "p"}, {"completion", {{"text", "joy"}, {"ids", {5, 6}}}}}});
  expect_ok(run_limbic({"score", "--rewards", rewards, "--input", place_.file("in.jsonl"),
                        "--output", place_.file("out.jsonl")}));
  const auto rows = place_.read_rows("out.jsonl");
  ASSERT_EQ(rows.size(), 2U);
  ASSERT_EQ(rows[0].at("scores").size(), 2U);
  const Json& first = rows[0]["scores"][0];
  EXPECT_TRUE(first.at("reward").is_null());
  EXPECT_EQ(first["components"]["words"]["status"], "scored");
  EXPECT_EQ(first["components"]["words"]["value"], 1.0);
  EXPECT_EQ(first["components"]["right"]["value"], 1.0);
  EXPECT_EQ(first["components"]["tokens"]["status"], "failed");
  EXPECT_EQ(rows[0]["scores"][1]["components"]["words"]["value"], 0.0);
  EXPECT_EQ(rows[0]["scores"][1]["components"]["right"]["value"], 0.0);
  const Json& second = rows[1]["scores"][0];
  EXPECT_EQ(second["components"]["right"]["status"], "not_applicable");
  EXPECT_FALSE(second["components"]["right"].contains("value"));
  EXPECT_DOUBLE_EQ(second.at("reward").get<double>(), 1.5);
  EXPECT_EQ(rows[1].at("prompt"), "p");
}

TEST_F(Rows, ScoreWarnsOfAColumnThatNoRowHas) {
  const std::string rewards =
      place_.write("rewards.yaml", "rewards: {graph: {type: label, column: mood}}\n");
  place_.write_rows("in.jsonl", {{{"prompt", "p"}, {"completion", "joy"}, {"label", "joy"}}});
  const Ended ended = run_limbic({"score", "--rewards", rewards, "--input", place_.file("in.jsonl"),
                                  "--output", place_.file("out.jsonl")});
  expect_ok(ended);
  EXPECT_NE(ended.err.find("got no column 'mood' in any row"), std::string::npos) << ended.err;
}

TEST_F(Rows, ScoreAsksAWorker) {
  const std::string graph =
      "  graph: {name: words, type: length, max: 1, unit: words}\nserve: {address: "
      "'127.0.0.1:0'}\n";
  Process worker({limbic_binary(), "serve", place_.write("serve.yaml", "rewards:\n" + graph)});
  const std::string address = served_address(worker);
  place_.write_rows("in.jsonl", {{{"completions", {"one", "and two"}}}});
  expect_ok(run_limbic({"score", "--rewards",
                        place_.write("far.yaml", "rewards: {workers: ['" + address + "']}\n"),
                        "--input", place_.file("in.jsonl"), "--output", place_.file("out.jsonl")}));
  const Json scores = place_.read_rows("out.jsonl")[0].at("scores");
  EXPECT_EQ(scores[0].at("reward"), 1.0);
  EXPECT_EQ(scores[1].at("reward"), 0.0);
  worker.signal(SIGTERM);
  EXPECT_EQ(worker.finish().code, 0);
}

}  // namespace
}  // namespace limbic::test
