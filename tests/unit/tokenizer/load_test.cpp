// What a folder must hold, and how complaints name the place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "proto/sentencepiece_model.pb.h"
#include "tests/unit/tokenizer/golden.h"
#include "trainer/base/error.h"

namespace limbic::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string failure_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no DataError";
}

// The complaint about the file of `family` after a change.
std::string complaint(const std::string& family, const std::function<void(Json&)>& change,
                      std::string& path) {
  Json json = golden_json(family);
  change(json);
  const test::TempFolder folder;
  path = folder.file("tokenizer.json");
  folder.write("tokenizer.json", json.dump());
  return failure_of([&] { Tokenizer::load(folder.path()); });
}

void expect_complaint(const std::function<void(Json&)>& change, const std::string& place,
                      const std::string& got, const std::string& family = "smollm2") {
  std::string path;
  const std::string message = complaint(family, change, path);
  EXPECT_THAT(message, AllOf(StartsWith(path + place + ": "), HasSubstr(got), HasSubstr("want")));
}

TEST(Load, ADocumentIsAsThePostProcessorWantsIt) {
  Json json = golden_json("smollm2");
  const Json begin = {{"SpecialToken", {{"id", "<|im_start|>"}, {"type_id", 0}}}};
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json end = {{"SpecialToken", {{"id", "<|im_end|>"}, {"type_id", 0}}}};
  const auto load = [&](const Json& processor) {
    json["post_processor"] = processor;
    const test::TempFolder folder;
    folder.write("tokenizer.json", json.dump());
    return Tokenizer::load(folder.path());
  };
  const Json around = {{"type", "TemplateProcessing"}, {"single", {begin, text, end}}};
  const Tokenizer both = load({{"type", "Sequence"}, {"processors", {around}}});
  const std::string whole = "<|im_start|>hi there<|im_end|>";
  EXPECT_EQ(both.encode_document("hi there"), both.encode(whole));
  EXPECT_EQ(both.encode_document(whole), both.encode(whole));
  EXPECT_NE(both.encode("hi there"), both.encode(whole));
  const Tokenizer plain = load(nullptr);
  EXPECT_EQ(plain.encode_document("hi there"), plain.encode("hi there"));
  const std::int32_t id = *plain.id_of("<|im_end|>");
  const Tokenizer roberta = load(
      {{"type", "RobertaProcessing"}, {"cls", {"<|im_end|>", id}}, {"sep", {"<|im_end|>", id}}});
  EXPECT_EQ(roberta.encode_document("hi"), plain.encode("<|im_end|>hi<|im_end|>"));
}

TEST(Load, MissingFolderAndFile) {
  const test::TempFolder folder;
  EXPECT_THAT(failure_of([&] { Tokenizer::load(folder.file("nowhere")); }),
              AllOf(HasSubstr(folder.file("nowhere")), HasSubstr("tokenizer.json"),
                    HasSubstr("no such file")));
  EXPECT_THAT(failure_of([&] { Tokenizer::load(folder.path()); }),
              StartsWith(folder.file("tokenizer.json")));
}

TEST(Load, NoJson) {
  const test::TempFolder folder;
  for (const std::string text : {"", "{", "[1,", "\xFF", "{\"model\": }"}) {
    folder.write("tokenizer.json", text);
    EXPECT_THAT(failure_of([&] { Tokenizer::load(folder.path()); }),
                AllOf(StartsWith(folder.file("tokenizer.json")), HasSubstr("broken JSON")));
  }
  for (const std::string text : {"[]", "3", "null", "{}"}) {
    folder.write("tokenizer.json", text);
    EXPECT_THAT(failure_of([&] { Tokenizer::load(folder.path()); }),
                StartsWith(folder.file("tokenizer.json")));
  }
}

TEST(Load, UnknownTypesAreNamed) {
  expect_complaint([](Json& j) { j["model"]["type"] = "Unigram"; }, ".model", "Unigram");
  expect_complaint([](Json& j) { j["model"]["type"] = "WordPiece"; }, ".model", "WordPiece");
  expect_complaint(
      [](Json& j) {
        j["normalizer"] = {{"type", "BertNormalizer"}};
      },
      ".normalizer", "BertNormalizer");
  expect_complaint([](Json& j) { j["normalizer"]["normalizers"][1]["type"] = "Nmt"; },
                   ".normalizer.normalizers[1]", "Nmt", "flags");
  expect_complaint(
      [](Json& j) {
        j["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
      },
      ".pre_tokenizer", "UnicodeScripts");
  expect_complaint([](Json& j) { j["pre_tokenizer"]["pretokenizers"][1]["type"] = "Other"; },
                   ".pre_tokenizer.pretokenizers[1]", "Other", "qwen");
  expect_complaint([](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Sideways"; },
                   ".pre_tokenizer.pretokenizers[0].behavior", "Sideways", "qwen");
  expect_complaint([](Json& j) { j["decoder"] = {{"type", "CTC"}}; }, ".decoder", "CTC");
  expect_complaint(
      [](Json& j) {
        j["post_processor"] = {{"type", "Other"}};
      },
      ".post_processor", "Other");
}

TEST(Load, DamagedPreTokenizers) {
  const auto with = [](const Json& part) { return [part](Json& j) { j["pre_tokenizer"] = part; }; };
  const std::string place = ".pre_tokenizer";
  expect_complaint(with({{"type", "Metaspace"}, {"replacement", "ab"}}), place + ".replacement",
                   "\"ab\"");
  expect_complaint(with({{"type", "Metaspace"}, {"replacement", ""}}), place + ".replacement",
                   "\"\"");
  expect_complaint(with({{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "often"}}),
                   place + ".prepend_scheme", "often");
  expect_complaint(with({{"type", "Metaspace"},
                         {"replacement", "_"},
                         {"prepend_scheme", "first"},
                         {"add_prefix_space", false}}),
                   place + ".prepend_scheme", "add_prefix_space");
  expect_complaint(with({{"type", "CharDelimiterSplit"}, {"delimiter", "xy"}}),
                   place + ".delimiter", "\"xy\"");
  expect_complaint(with({{"type", "FixedLength"}, {"length", 0}}), place + ".length",
                   "less than 1");
  expect_complaint(with({{"type", "Punctuation"}, {"behavior", "Sideways"}}), place + ".behavior",
                   "Sideways");
}

TEST(Load, DamagedModel) {
  expect_complaint([](Json& j) { j["model"].erase("vocab"); }, ".model.vocab", "no object");
  expect_complaint([](Json& j) { j["model"].erase("merges"); }, ".model.merges", "no list");
  expect_complaint([](Json& j) { j["model"]["vocab"]["x"] = "7"; }, ".model.vocab", "\"7\"");
  expect_complaint([](Json& j) { j["model"]["vocab"]["x"] = -1; }, ".model.vocab", "-1");
  expect_complaint([](Json& j) { j["model"]["vocab"]["x"] = 1 << 24; }, ".model.vocab", "16777216");
  expect_complaint(
      [](Json& j) {
        j["model"]["merges"][3] = {"zq", "qz"};
      },
      ".model.merges", "place 3");
  expect_complaint([](Json& j) { j["model"]["merges"][0] = "ab"; }, ".model.merges", "place 0");
  expect_complaint([](Json& j) { j["model"]["dropout"] = 0.1; }, ".model.dropout", "0.1");
  expect_complaint([](Json& j) { j["model"]["unk_token"] = "<none>"; }, ".model.unk_token",
                   "<none>");
  expect_complaint([](Json& j) { j["model"]["byte_fallback"] = 3; }, ".model.byte_fallback", "3");
}

TEST(Load, DamagedAddedTokens) {
  expect_complaint([](Json& j) { j["added_tokens"][1].erase("content"); },
                   ".added_tokens[1].content", "null");
  expect_complaint([](Json& j) { j["added_tokens"][1]["id"] = -4; }, ".added_tokens[1]", "-4");
  expect_complaint([](Json& j) { j["added_tokens"][1]["id"] = 1 << 24; }, ".added_tokens[1]",
                   "16777216");
  expect_complaint([](Json& j) { j["added_tokens"][1]["lstrip"] = "yes"; },
                   ".added_tokens[1].lstrip", "yes");
  expect_complaint([](Json& j) { j["added_tokens"][0]["id"] = 500; }, ".added_tokens", "500");
}

TEST(Load, PatternsThatCannotBeRun) {
  const auto pattern = [](const std::string& text) {
    return [text](Json& j) {
      j["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"Regex", text}};
    };
  };
  const std::string place = ".pre_tokenizer.pretokenizers[0].pattern";
  for (const std::string text : {"(", "[a", "a)", "[a&&b]", "(?<name>x)", "\\", "\\pL"}) {
    std::string path;
    const std::string message = complaint("qwen", pattern(text), path);
    EXPECT_THAT(message, AllOf(StartsWith(path + place + ": "), HasSubstr("pattern"))) << text;
  }
}

// Files of before 2024 write merges as strings.
TEST(Load, OldAndNewMergesAreEqual) {
  Json json = golden_json("smollm2");
  for (Json& merge : json["model"]["merges"]) {
    ASSERT_TRUE(merge.is_array());
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  }
  const test::TempFolder folder;
  folder.write("tokenizer.json", json.dump());
  const Tokenizer old_form = Tokenizer::load(folder.path());
  const Tokenizer new_form = Tokenizer::load(golden_folder("smollm2"));
  const std::string text = "The old clock in the hall struck nine.";
  EXPECT_EQ(old_form.encode(text), new_form.encode(text));
}

TEST(Load, ConfigNamesTokens) {
  const test::TempFolder folder;
  folder.write("tokenizer.json", golden_json("smollm2").dump());
  const Tokenizer without = Tokenizer::load(folder.path());
  EXPECT_EQ(without.eos_id(), std::nullopt);
  EXPECT_EQ(without.config(), Json::object());

  folder.write("tokenizer_config.json",
               R"({"eos_token": {"content": "<|im_end|>"}, "bos_token": null, "extra": [1]})");
  const Tokenizer with = Tokenizer::load(folder.path());
  EXPECT_EQ(with.eos_id(), with.id_of("<|im_end|>"));
  EXPECT_EQ(with.bos_id(), std::nullopt);
  EXPECT_EQ(with.pad_id(), std::nullopt);
  EXPECT_EQ(with.config()["extra"], Json::array({1}));
}

// As transformers: where the config has no table of added tokens, the map goes first.
TEST(Load, SpecialTokensMapNamesTokens) {
  const test::TempFolder folder;
  folder.write("tokenizer.json", golden_json("smollm2").dump());
  folder.write("special_tokens_map.json",
               R"({"eos_token": "<|im_end|>", "bos_token": {"content": "<|im_start|>"}})");
  const auto names = [&] {
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    const auto spelling = [&](std::optional<std::int32_t> id) {
      return id ? tokenizer.token_of(*id) : std::string("none");
    };
    return spelling(tokenizer.bos_id()) + " " + spelling(tokenizer.eos_id());
  };
  EXPECT_EQ(names(), "<|im_start|> <|im_end|>");
  folder.write("tokenizer_config.json", R"({"eos_token": "<|endoftext|>"})");
  EXPECT_EQ(names(), "<|im_start|> <|im_end|>");
  folder.write("tokenizer_config.json",
               R"({"eos_token": "<|endoftext|>", "added_tokens_decoder": {}})");
  EXPECT_EQ(names(), "none <|endoftext|>");
  folder.write("tokenizer_config.json", "{}");
  folder.write("special_tokens_map.json", R"({"eos_token": "<nobody>"})");
  EXPECT_THAT(failure_of([&] { Tokenizer::load(folder.path()); }),
              StartsWith(folder.file("special_tokens_map.json") + ": eos_token: got"));
}

TEST(Load, DamagedConfig) {
  const test::TempFolder folder;
  folder.write("tokenizer.json", golden_json("smollm2").dump());
  const auto complaint_about = [&](const std::string& config) {
    folder.write("tokenizer_config.json", config);
    return failure_of([&] { Tokenizer::load(folder.path()); });
  };
  const std::string path = folder.file("tokenizer_config.json");
  EXPECT_THAT(complaint_about("{"), AllOf(StartsWith(path), HasSubstr("broken JSON")));
  EXPECT_THAT(complaint_about("[]"), AllOf(StartsWith(path), HasSubstr("want a JSON object")));
  EXPECT_THAT(complaint_about(R"({"eos_token": "<nobody>"})"),
              AllOf(StartsWith(path), HasSubstr("eos_token"), HasSubstr("<nobody>")));
  EXPECT_THAT(complaint_about(R"({"pad_token": 7})"),
              AllOf(StartsWith(path), HasSubstr("pad_token"), HasSubstr("7")));
}

// Pieces of a SentencePiece model.
class ModelFile {
 public:
  ModelFile() {
    model.mutable_trainer_spec()->set_model_type(sentencepiece::Model::Trainer::BPE);
    model.mutable_normalizer_spec()->set_remove_extra_whitespaces(false);
    add("<unk>", 0, Piece::UNKNOWN);
    add("<s>", 0, Piece::CONTROL);
    for (const char* text : {"\u2581a", "ab", "bc", "\u2581ab"}) {
      add(text, -static_cast<float>(model.pieces_size()));
    }
    for (const char* letter : {"\u2581", "a", "b", "c"}) add(letter, -10);
  }

  using Piece = sentencepiece::Model::Piece;
  void add(const std::string& text, float score, Piece::Type type = Piece::NORMAL) {
    Piece* piece = model.add_pieces();
    piece->set_piece(text);
    piece->set_score(score);
    piece->set_type(type);
  }
  Tokenizer load(const std::string& config = "{}") const {
    folder.write("tokenizer.model", model.SerializeAsString());
    folder.write("tokenizer_config.json", config);
    return Tokenizer::load(folder.path());
  }
  std::string complaint(const std::string& config = "{}") const {
    const std::string message = failure_of([&] { load(config); });
    EXPECT_THAT(message, AllOf(StartsWith(folder.file("tokenizer.model") + ": "), HasSubstr("got"),
                               HasSubstr("want")));
    return message;
  }

  sentencepiece::Model model;
  test::TempFolder folder;
};

TEST(LoadSentencePiece, MergesByScore) {
  const Tokenizer tokenizer = ModelFile().load(R"({"bos_token": "<s>"})");
  const auto spellings = [&](const std::string& text) {
    std::vector<std::string> found;
    for (const std::int32_t id : tokenizer.encode(text)) found.push_back(tokenizer.token_of(id));
    return found;
  };
  EXPECT_THAT(spellings("ab"), testing::ElementsAre("\u2581ab"));
  EXPECT_THAT(spellings("abc"), testing::ElementsAre("\u2581a", "bc"));
  EXPECT_THAT(spellings("cabc"), testing::ElementsAre("\u2581", "c", "ab", "c"));
  EXPECT_THAT(spellings("b c"), testing::ElementsAre("\u2581", "b", "\u2581", "c"));
  EXPECT_THAT(spellings("xyz"), testing::ElementsAre("\u2581", "<unk>"));
  EXPECT_THAT(spellings("a<s>a"), testing::ElementsAre("\u2581a", "<s>", "\u2581a"));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("b  c"), false), "b  c");
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_TRUE(tokenizer.is_special(1));
}

TEST(LoadSentencePiece, LegacyDecidesWhereSpacesAreAdded) {
  const Tokenizer tokenizer = ModelFile().load(R"({"legacy": false})");
  const auto ids = tokenizer.encode("a<s>a");
  EXPECT_EQ(tokenizer.token_of(ids.front()), "\u2581a");
  EXPECT_EQ(tokenizer.token_of(ids.back()), "a");
}

TEST(LoadSentencePiece, ConfigAddsTokens) {
  const ModelFile file;
  const Tokenizer tokenizer = file.load(
      R"({"added_tokens_decoder": {"10": {"content": "<pad>", "special": true, "lstrip": true}},
          "pad_token": "<pad>"})");
  EXPECT_EQ(tokenizer.size(), 11);
  EXPECT_EQ(tokenizer.pad_id(), 10);
  EXPECT_EQ(tokenizer.encode("b  <pad>").size(), 3u);  // the mark, b, and it with its spaces
  EXPECT_THAT(file.complaint(R"({"added_tokens_decoder": {"x": {"content": "y"}}})"),
              HasSubstr("added_tokens_decoder: got x"));
  EXPECT_THAT(file.complaint(R"({"added_tokens_decoder": {"3": {"content": "y"}}})"),
              HasSubstr("got id 3 for y"));
}

TEST(LoadSentencePiece, RefusesWhatItCannotDo) {
  const auto after = [](const std::function<void(ModelFile&)>& change) {
    ModelFile file;
    change(file);
    return file.complaint();
  };
  using Trainer = sentencepiece::Model::Trainer;
  EXPECT_THAT(
      after([](ModelFile& f) { f.model.mutable_trainer_spec()->set_model_type(Trainer::UNIGRAM); }),
      HasSubstr("Unigram"));
  EXPECT_THAT(after([](ModelFile& f) {
                f.model.mutable_normalizer_spec()->set_precompiled_charsmap("x");
                f.model.mutable_normalizer_spec()->set_name("nmt_nfkc");
              }),
              HasSubstr("nmt_nfkc"));
  EXPECT_THAT(after([](ModelFile& f) {
                f.model.mutable_trainer_spec()->set_treat_whitespace_as_suffix(true);
              }),
              HasSubstr("treat_whitespace_as_suffix"));
  EXPECT_THAT(
      after([](ModelFile& f) { f.model.mutable_normalizer_spec()->set_escape_whitespaces(false); }),
      HasSubstr("escape_whitespaces"));
  EXPECT_THAT(after([](ModelFile& f) { f.add("gone", 0, ModelFile::Piece::UNUSED); }),
              HasSubstr("unused piece gone"));
  EXPECT_THAT(after([](ModelFile& f) { f.add("ab", 0); }), HasSubstr("the piece ab twice"));
  EXPECT_THAT(after([](ModelFile& f) { f.add("", 0); }), HasSubstr("piece 10 empty"));
  EXPECT_THAT(after([](ModelFile& f) { f.model.Clear(); }), HasSubstr("no SentencePiece model"));
}

}  // namespace
}  // namespace limbic::data
