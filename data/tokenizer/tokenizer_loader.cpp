#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "data/tokenizer/tokenizer_parts.h"
#include "trainer/base/file.h"

namespace limbic::data {
namespace {

constexpr std::string_view kPostProcessors[] = {"TemplateProcessing", "ByteLevel", "Sequence",
                                                "BertProcessing", "RobertaProcessing"};

nlohmann::json read_json(const std::string& path) {
  try {
    return nlohmann::json::parse(read_file(path));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: got no valid JSON: {}", path, error.what()));
  }
}

std::vector<AddedToken> read_added_tokens(const Part& list) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  for (const Part& item : list.items()) {
    AddedToken token;
    token.content = item["content"].text();
    const std::int64_t id = item["id"].number();
    if (id < 0 || id > kMaxTokenId) {
      item.fail(fmt::format("got id {}, want 0 to {}", id, kMaxTokenId));
    }
    token.id = static_cast<std::int32_t>(id);
    token.special = item["special"].boolean(false);
    token.single_word = item["single_word"].boolean(false);
    token.lstrip = item["lstrip"].boolean(false);
    token.rstrip = item["rstrip"].boolean(false);
    token.normalized = item["normalized"].boolean(!token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// A named token of tokenizer_config.json: a string, or an object with `content`.
std::optional<std::int32_t> named_token(const Tokenizer::Parts& parts, const std::string& path,
                                        const char* key) {
  if (!parts.config.contains(key) || parts.config[key].is_null()) return std::nullopt;
  const Json& value = parts.config[key];
  const Json* content = &value;
  if (value.is_object() && value.contains("content")) content = &value["content"];
  if (!content->is_string()) {
    throw DataError(fmt::format("{}: {}: got {}, want a token", path, key, value.dump()));
  }
  const auto found = parts.ids.find(content->get<std::string>());
  if (found == parts.ids.end()) {
    throw DataError(fmt::format("{}: {}: got {}, want a token that tokenizer.json knows", path, key,
                                content->dump()));
  }
  return found->second;
}

void read_config(Tokenizer::Parts& parts, const std::string& path) {
  if (!std::filesystem::exists(path)) return;
  try {
    parts.config = Json::parse(read_file(path));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{}: got no valid JSON: {}", path, error.what()));
  }
  if (!parts.config.is_object())
    throw DataError(path + ": got no object, want the tokenizer's settings");
  parts.eos = named_token(parts, path, "eos_token");
  parts.bos = named_token(parts, path, "bos_token");
  parts.pad = named_token(parts, path, "pad_token");
}

void name_token(Tokenizer::Parts& parts, std::int32_t id, const std::string& spelling) {
  const auto place = static_cast<std::size_t>(id);
  if (place >= parts.spellings.size()) parts.spellings.resize(place + 1);
  parts.spellings[place] = spelling;
  parts.ids[spelling] = id;
}

std::string normalized_spelling(const Normalizer& normalizer, const std::string& content) {
  TextBuffer buffers[2];
  RegexWorkspace workspace;
  return std::string(normalizer.apply({content}, false, buffers, workspace).text);
}

void add_tokens(Tokenizer::Parts& parts, const Part& list) {
  for (const auto& [spelling, id] : parts.model.vocabulary()) name_token(parts, id, spelling);
  std::vector<AddedToken> tokens = read_added_tokens(list);
  // Special tokens come first where two tokens look alike.
  std::stable_partition(tokens.begin(), tokens.end(), [](const auto& t) { return t.special; });
  for (const AddedToken& token : tokens) {
    const auto known = parts.ids.find(token.content);
    if (known != parts.ids.end() && known->second != token.id) {
      list.fail(fmt::format("got id {} for {}, want {} as in the vocabulary", token.id,
                            token.content, known->second));
    }
    name_token(parts, token.id, token.content);
    if (token.special) parts.special.insert(token.id);
    if (token.normalized) {
      const std::string spelling = normalized_spelling(parts.normalizer, token.content);
      parts.normalized_tokens.add(token, spelling);
      if (spelling != token.content) parts.normalized_spellings[token.id] = spelling;
    } else {
      parts.raw_tokens.add(token, token.content);
    }
  }
  if (!parts.decoder.is_byte_level()) return;
  for (std::int32_t id = 0; id < static_cast<std::int32_t>(parts.spellings.size()); ++id) {
    parts.bytes.push_back(parts.has(id) ? bytes_of_token(parts.decoded_spelling(id)) : "");
  }
}

void check_post_processor(const Part& part) {
  if (part.is_null()) return;
  const std::string type = part["type"].text();
  if (std::find(std::begin(kPostProcessors), std::end(kPostProcessors), type) ==
      std::end(kPostProcessors)) {
    part.fail(fmt::format("got type {}, want {}", type, fmt::join(kPostProcessors, ", ")));
  }
}

}  // namespace

Tokenizer Tokenizer::load(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "tokenizer.json").string();
  if (!std::filesystem::exists(path)) {
    throw DataError(fmt::format(
        "{}: got no such file, want the tokenizer of a Hugging Face model folder; a folder with "
        "only tokenizer.model or vocab.json can be converted with transformers (save_pretrained)",
        path));
  }
  const nlohmann::json json = read_json(path);
  const Part root(json, path);
  if (!json.is_object()) root.fail("got no object, want a tokenizer");
  auto parts = std::make_unique<Parts>();
  parts->normalizer = Normalizer::parse(root["normalizer"]);
  parts->pre_tokenizer = PreTokenizer::parse(root["pre_tokenizer"]);
  parts->model = BpeModel::parse(root["model"], parts->pre_tokenizer.is_byte_level());
  parts->decoder = TokenDecoder::parse(root["decoder"]);
  check_post_processor(root["post_processor"]);
  add_tokens(*parts, root["added_tokens"]);
  read_config(*parts, (std::filesystem::path(folder) / "tokenizer_config.json").string());
  return Tokenizer(std::move(parts));
}

}  // namespace limbic::data
