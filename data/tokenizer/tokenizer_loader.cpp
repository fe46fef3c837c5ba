#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "data/tokenizer/sentencepiece/sentencepiece_loader.h"
#include "data/tokenizer/tokenizer_parts.h"
#include "data/tokenizer_config.h"
#include "trainer/base/file.h"
#include "trainer/base/json_file.h"

namespace limbic::data {
namespace {

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

// A named token: a string, or an object with `content`.
std::optional<std::int32_t> named_token(const Tokenizer::Parts& parts,
                                        const TokenizerConfig& config, const char* key) {
  if (!config.values.contains(key) || config.values[key].is_null()) return std::nullopt;
  const Json& value = config.values[key];
  const Json* content = &value;
  if (value.is_object() && value.contains("content")) content = &value["content"];
  if (!content->is_string()) {
    throw DataError(
        fmt::format("{}: {}: got {}, want a token", config.file_of(key), key, value.dump()));
  }
  const auto found = parts.ids.find(content->get<std::string>());
  if (found == parts.ids.end()) {
    throw DataError(fmt::format("{}: {}: got {}, want a token that tokenizer.json knows",
                                config.file_of(key), key, content->dump()));
  }
  return found->second;
}

std::string normalized_spelling(const Normalizer& normalizer, const std::string& content) {
  TextBuffer buffers[2];
  RegexWorkspace workspace;
  return std::string(normalizer.apply({content}, false, buffers, workspace).text);
}

void add_tokens(Tokenizer::Parts& parts, const Part& list) {
  for (const auto& [spelling, id] : parts.model.vocabulary()) parts.name_token(id, spelling);
  std::vector<AddedToken> tokens = read_added_tokens(list);
  // Special tokens come first where two tokens look alike.
  std::stable_partition(tokens.begin(), tokens.end(), [](const auto& t) { return t.special; });
  for (const AddedToken& token : tokens) {
    const auto known = parts.ids.find(token.content);
    if (known != parts.ids.end() && known->second != token.id) {
      list.fail(fmt::format("got id {} for {}, want {} as in the vocabulary", token.id,
                            token.content, known->second));
    }
    parts.name_token(token.id, token.content);
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

// [token, id] of BertProcessing and RobertaProcessing.
std::int32_t pair_id(const Part& pair, const Tokenizer::Parts& parts) {
  const std::vector<Part> items = pair.items();
  if (items.size() != 2) pair.fail("got no pair, want [token, id]");
  const std::int64_t id = items[1].number();
  if (id < 0 || id > INT32_MAX || !parts.has(static_cast<std::int32_t>(id))) {
    items[1].fail(fmt::format("got {}, want the id of a token", id));
  }
  return static_cast<std::int32_t>(id);
}

void read_template(const Part& part, Tokenizer::Parts& parts) {
  std::vector<std::int32_t>* side = &parts.in_front;
  for (const Part& piece : part["single"].items()) {
    if (!piece["Sequence"].is_null()) {
      side = &parts.behind;
      continue;
    }
    const Part name = piece["SpecialToken"]["id"];
    const auto known = parts.ids.find(name.text());
    if (known == parts.ids.end()) name.fail(fmt::format("got '{}', want a token", name.text()));
    side->push_back(known->second);
  }
}

void read_post_processor(const Part& part, Tokenizer::Parts& parts) {
  if (part.is_null()) return;
  const std::string type = part["type"].text();
  if (type == "Sequence") {
    for (const Part& step : part["processors"].items()) read_post_processor(step, parts);
  } else if (type == "TemplateProcessing") {
    read_template(part, parts);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    parts.in_front.push_back(pair_id(part["cls"], parts));
    parts.behind.push_back(pair_id(part["sep"], parts));
  } else if (type != "ByteLevel") {
    part.fail(
        fmt::format("got type {}, want TemplateProcessing, ByteLevel, Sequence, "
                    "BertProcessing or RobertaProcessing",
                    type));
  }
}

void load_json(const std::string& path, Tokenizer::Parts& parts) {
  const nlohmann::json json = parse_sorted_json(read_regular_file(path), path);
  const Part root(json, path);
  if (!json.is_object()) root.fail("got no object, want a tokenizer");
  parts.normalizer = Normalizer::parse(root["normalizer"]);
  parts.pre_tokenizer = PreTokenizer::parse(root["pre_tokenizer"]);
  parts.model = BpeModel::parse(root["model"], parts.pre_tokenizer.is_byte_level());
  parts.decoder = TokenDecoder::parse(root["decoder"]);
  add_tokens(parts, root["added_tokens"]);
  read_post_processor(root["post_processor"], parts);
}

}  // namespace

void Tokenizer::Parts::name_token(std::int32_t id, const std::string& spelling) {
  const auto place = static_cast<std::size_t>(id);
  if (place >= spellings.size()) spellings.resize(place + 1);
  spellings[place] = spelling;
  ids[spelling] = id;
}

Tokenizer Tokenizer::load(const std::string& folder) {
  const std::filesystem::path place(folder);
  const std::string json = (place / "tokenizer.json").string();
  const std::string model = (place / "tokenizer.model").string();
  const TokenizerConfig config = TokenizerConfig::read(folder);
  auto parts = std::make_unique<Parts>();
  parts->config = config.values;
  if (is_named(json)) {
    load_json(json, *parts);
  } else if (is_named(model)) {
    load_sentencepiece(model, *parts);
  } else {
    throw DataError(
        fmt::format("{}: got no such file and no tokenizer.model, want the tokenizer of a Hugging "
                    "Face model folder; a folder with vocab.json can be converted with "
                    "transformers (save_pretrained)",
                    json));
  }
  parts->eos = named_token(*parts, config, "eos_token");
  parts->bos = named_token(*parts, config, "bos_token");
  parts->pad = named_token(*parts, config, "pad_token");
  if (!is_named(json) && parts->bos && parts->config.value("add_bos_token", Json(true)) == true) {
    parts->in_front = {*parts->bos};  // as a LlamaTokenizer does
  }
  return Tokenizer(std::move(parts));
}

}  // namespace limbic::data
