// JSON files of a folder that hold what nobody would write: every value of every key, by one that
// it may not have.
#include <gtest/gtest.h>

#include "tests/fuzz/mutants.h"

namespace limbic::test {
namespace {

std::vector<Json> hostile_values() {
  return {nullptr,
          true,
          "",
          "\x01\n\u2028",
          Json::array(),
          Json::object(),
          Json::array({nullptr, 1, "a"}),
          Json::object({{"", ""}}),
          0,
          -1,
          1,
          0.5,
          1e308,
          -1e-308,
          1LL << 31,
          (1LL << 62) + 1,
          18446744073709551615ULL};
}

// Places of values in a file; of long lists and tables the first two.
void collect(const Json& json, const Json::json_pointer& at, std::vector<Json::json_pointer>& out) {
  if (!at.empty()) out.push_back(at);
  if (!json.is_structured()) return;
  std::size_t count = 0;
  for (const auto& [key, value] : json.items()) {
    if (json.size() > 20 && ++count > 2) break;
    if (json.is_array()) {
      collect(value, at / static_cast<std::size_t>(std::stoul(key)), out);
    } else {
      collect(value, at / key, out);
    }
  }
}

// Every place of the file with every hostile value that falls to this share of them.
int try_values(Kind kind, const std::string& name, std::size_t share, std::size_t shares) {
  Folder folder(kind);
  const Json whole = folder.read_json(name);
  std::vector<Json::json_pointer> places;
  collect(whole, Json::json_pointer(), places);
  const std::vector<Json> values = hostile_values();
  int refused = 0;
  for (std::size_t i = share; i < places.size() * values.size(); i += shares) {
    Json changed = whole;
    changed[places[i / values.size()]] = values[i % values.size()];
    const std::string what = name + ": " + places[i / values.size()].to_string() + " is " +
                             values[i % values.size()].dump();
    refused += !folder.complaint(what, [&] { folder.write(name, changed.dump()); }).empty();
  }
  return refused;
}

struct Target {
  Kind kind;
  const char* file;
  std::size_t share, shares;  // of a file with too many values for one test
};

class Values : public testing::TestWithParam<Target> {};

TEST_P(Values, EveryPlaceOfAFile) {
  const auto& [kind, file, share, shares] = GetParam();
  EXPECT_GT(try_values(kind, file, share, shares), 10);
}

std::vector<Target> targets() {
  std::vector<Target> out = {
      {Kind::kSingle, "model/generation_config.json", 0, 1},
      {Kind::kSingle, "model/tokenizer_config.json", 0, 1},
      {Kind::kSentencePiece, "model/tokenizer_config.json", 0, 2},
  };
  for (std::size_t share = 0; share < 5; ++share) {
    out.push_back({Kind::kSingle, "model/config.json", share, 5});
    out.push_back({Kind::kSingle, "adapter/adapter_config.json", share, 5});
  }
  for (std::size_t share = 0; share < 10; ++share) {
    out.push_back({Kind::kSingle, "model/tokenizer.json", share, 20});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Files, Values, testing::ValuesIn(targets()),
                         [](const auto& target) { return std::to_string(target.index); });

class Texts : public testing::TestWithParam<const char*> {
 protected:
  void refused(const std::string& text, const std::string& part) {
    folder_.expect_refused(GetParam(), text, {folder_.path(GetParam()), part});
  }
  // The file with one more value in front.
  std::string with(const std::string& value) const {
    return R"({"extra": )" + value + "," + folder_.read(GetParam()).substr(1);
  }

  Folder folder_{Kind::kSingle};
};

TEST_P(Texts, NoJson) {
  for (const char* text : {"{", "}", "\xEF\xBB\xBF", "{\"a\": NaN}", "{\"a\": 0x10}", "{'a': 1}",
                           "{\"a\": \"\xC0\x80\"}", "{\"a\": \"\\ud800\"}", "PK\x03\x04"}) {
    refused(text, "JSON");
  }
  for (const char* text : {"[]", "null", "7", "\"{}\""}) refused(text, "want");
  refused(folder_.read(GetParam()) + "{}", "JSON");
  refused(folder_.read(GetParam()) + std::string(1, '\0'), "zero byte");
}

TEST_P(Texts, NumbersThatNoDoubleHolds) {
  for (const std::string& number :
       {std::string("1e999"), std::string("-1e999"), "1" + std::string(400, '0') + ".5"}) {
    refused(with(number), "JSON");
  }
}

TEST_P(Texts, NestingWithoutEnd) {
  const std::string open(300'000, '['), close(300'000, ']');
  refused(open, "nests deeper");
  refused(with(open + close), "nests deeper");
  std::string objects, ends;
  for (int i = 0; i < 50'000; ++i) {
    objects += R"({"a":)";
    ends += "}";
  }
  refused(with(objects + "1" + ends), "nests deeper");
}

// Of no use, and no harm.
TEST_P(Texts, LongStringsAndEqualKeys) {
  EXPECT_EQ(folder_.complaint_about(GetParam(), with("\"" + std::string(10'000'000, 'x') + "\"")),
            "");
  EXPECT_EQ(folder_.complaint_about(GetParam(), with(R"(1, "extra": 2, "extra": "[[[[\"{")")), "");
}

INSTANTIATE_TEST_SUITE_P(Files, Texts,
                         testing::Values("model/config.json", "model/generation_config.json",
                                         "model/tokenizer.json", "model/tokenizer_config.json",
                                         "adapter/adapter_config.json"),
                         [](const auto& file) { return std::to_string(file.index); });

// Values of the right kind that no machine has room or time for.
TEST(Sizes, OfTheModel) {
  Folder folder(Kind::kSingle);
  const auto refused = [&](const std::string& key, const Json& value) {
    Json config = folder.read_json("model/config.json");
    config[key] = value;
    folder.expect_refused("model/config.json", config.dump(), {folder.path("model"), key});
  };
  refused("num_hidden_layers", 1'000'000'000);
  refused("max_position_embeddings", 1LL << 40);
  refused("max_position_embeddings", 1LL << 27);
  refused("vocab_size", 1LL << 40);
  refused("hidden_size", 1LL << 40);
  refused("num_attention_heads", 1LL << 31);
  refused("rms_norm_eps", -1.0);
  refused("initializer_range", -1.0);
  refused("rope_theta", 1e-300);
  refused("rope_scaling", {{"rope_type", "linear"}, {"factor", 1e-300}});
  refused("rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}, {"attention_factor", 1e300}});
  refused("eos_token_id", 1LL << 40);
}

TEST(Sizes, OfTheVocabulary) {
  Folder folder(Kind::kSingle);
  const Json tokenizer = folder.read_json("model/tokenizer.json");
  Json changed = tokenizer;
  changed["model"]["vocab"]["zzz"] = (1 << 24) - 1;
  folder.expect_refused("model/tokenizer.json", changed.dump(), {"tokenizer.json", "16777215"});
  changed = tokenizer;
  changed["added_tokens"][0]["id"] = 1 << 30;
  folder.expect_refused("model/tokenizer.json", changed.dump(), {"tokenizer.json", "1073741824"});
  // A token that the text has and the model does not.
  changed = tokenizer;
  changed["added_tokens"].push_back({{"id", 5000}, {"content", "colour"}, {"special", false}});
  folder.expect_refused("model/tokenizer.json", changed.dump(),
                        {"rows.jsonl:2", "token id 5000", "vocab_size 293"});
}

TEST(Sizes, KeysWithoutNumber) {
  Folder folder(Kind::kSingle);
  for (const char* name :
       {"model/config.json", "model/tokenizer_config.json", "adapter/adapter_config.json"}) {
    std::string text = "{";
    for (int i = 0; i < 500'000; ++i) text += "\"" + std::to_string(i) + "\":0,";
    folder.expect_refused(name, text + folder.read(name).substr(1),
                          {folder.path(name), "more than 50000 keys"});
  }
}

// Expressions that a backtracking matcher would work on for ever.
TEST(Expressions, OfAnAdapterEnd) {
  Folder folder(Kind::kSingle);
  const Json config = folder.read_json("adapter/adapter_config.json");
  for (const std::string& expression :
       {std::string("(.*)*(.*)*(.*)*x"), std::string("((a|.)*)*!"),
        std::string("(.?){1,50}(.?){50}!"), "(" + std::string(900, '(') + "a",
        std::string(500, '(') + "a" + std::string(500, ')'), std::string("(a{1000}){1000}"),
        std::string("(.)\\1"), std::string(100'000, '('), std::string("[")}) {
    Json changed = config;
    changed["target_modules"] = Json::array({expression});
    folder.expect_refused("adapter/adapter_config.json", changed.dump(),
                          {folder.path("adapter"), "target_modules"});
    changed = config;
    changed["rank_pattern"] = {{expression, 4}};
    folder.complaint_about("adapter/adapter_config.json", changed.dump());
  }
}

TEST(Rules, OfATokenizerThatGrowTexts) {
  Folder folder(Kind::kSingle);
  const Json tokenizer = folder.read_json("model/tokenizer.json");
  const Json twice = {{"type", "Replace"}, {"pattern", {{"String", "e"}}}, {"content", "ee"}};
  const Json twice_all = {{"type", "Replace"}, {"pattern", {{"Regex", "."}}}, {"content", "ab"}};
  Json changed = tokenizer;
  changed["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(60, twice)}};
  folder.expect_refused("model/tokenizer.json", changed.dump(), {"rows.jsonl:2", "(limit)"});
  changed = tokenizer;
  changed["decoder"] = {{"type", "Sequence"}, {"decoders", std::vector<Json>(60, twice_all)}};
  folder.expect_refused("model/tokenizer.json", changed.dump(), {"(limit)"});
}

TEST(Templates, ThatDoNotEnd) {
  Folder folder(Kind::kSharded);
  const char* name = "model/chat_template.jinja";
  for (const char* text :
       {"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ 'a' * 99999999999 }}",
        "{{ messages[9].content }}{{ nothing.at.all }}", "{% for %}", "{{", "\xFF\xFE"}) {
    folder.expect_refused(name, text, {"chat_template.jinja"});
  }
  folder.expect_refused(name, "", {"rows.jsonl:2", "got no token"});
}

}  // namespace
}  // namespace limbic::test
