#include "data/tokenizer/sentencepiece/sentencepiece_loader.h"

#include <fmt/format.h>

#include <cctype>
#include <cmath>

#include "proto/sentencepiece_model.pb.h"
#include "trainer/base/file.h"

namespace limbic::data {
namespace {

using sentencepiece::Model;
using Piece = Model::Piece;

constexpr const char* kMark = "\u2581";

[[noreturn]] void refuse(const std::string& path, const std::string& message) {
  throw DataError(fmt::format("{}: {}", path, message));
}

Model read_model(const std::string& path) {
  Model model;
  if (!model.ParseFromString(read_regular_file(path)) || model.pieces().empty()) {
    refuse(path, "got no SentencePiece model, want the tokenizer of a model folder");
  }
  static constexpr const char* kAlgorithms[] = {"?", "Unigram", "BPE", "Word", "Char"};
  const auto algorithm = model.trainer_spec().model_type();
  if (algorithm != Model::Trainer::BPE) {
    refuse(path, fmt::format("got a {} model, want BPE (byte-pair encoding)",
                             kAlgorithms[static_cast<int>(algorithm)]));
  }
  if (model.trainer_spec().treat_whitespace_as_suffix()) {
    refuse(path, "got treat_whitespace_as_suffix, want spaces in front of words");
  }
  if (!model.normalizer_spec().precompiled_charsmap().empty()) {
    refuse(path, fmt::format("got the normalisation rule {}, want identity; a folder with "
                             "tokenizer.json can be made by transformers (save_pretrained)",
                             model.normalizer_spec().name()));
  }
  if (!model.normalizer_spec().escape_whitespaces()) {
    refuse(path, "got escape_whitespaces false, want spaces written as marks");
  }
  return model;
}

ScoredPiece::Role role_of(Piece::Type type) {
  if (type == Piece::UNKNOWN) return ScoredPiece::Role::kUnknown;
  const bool is_text = type == Piece::NORMAL || type == Piece::USER_DEFINED;
  return is_text ? ScoredPiece::Role::kText : ScoredPiece::Role::kReserved;
}

std::vector<ScoredPiece> scored_pieces(const Model& model, const std::string& path) {
  std::vector<ScoredPiece> pieces;
  for (const Piece& piece : model.pieces()) {
    if (piece.type() == Piece::UNUSED) {
      refuse(path, fmt::format("got the unused piece {}, want pieces in use", piece.piece()));
    }
    if (std::isnan(piece.score())) {
      refuse(path, fmt::format("got NaN as the score of piece {}, want a number", pieces.size()));
    }
    pieces.push_back({piece.piece(), piece.score(), role_of(piece.type())});
  }
  return pieces;
}

nlohmann::json replace(const char* kind, const std::string& pattern, const std::string& content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}

// The model's changes of a text, as the parts of tokenizer.json that do the same.
void add_text_rules(const Model& model, const std::string& path, Tokenizer::Parts& parts) {
  const Model::Normalizer& rules = model.normalizer_spec();
  const bool in_front_of_all = parts.config.value("legacy", Json(true)) != Json(false);
  nlohmann::json steps = nlohmann::json::array();
  if (rules.remove_extra_whitespaces()) {
    steps.push_back(replace("Regex", "\\A +|[ \u2581]+\\z", ""));
    steps.push_back(replace("Regex", " +", " "));
  }
  nlohmann::json decoders = {
      replace("String", kMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (rules.add_dummy_prefix()) {
    if (in_front_of_all) steps.push_back({{"type", "Prepend"}, {"prepend", kMark}});
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  if (in_front_of_all || !rules.add_dummy_prefix()) {
    steps.push_back(replace("String", " ", kMark));
  } else {
    const nlohmann::json spaces = {{"type", "Metaspace"},
                                   {"replacement", kMark},
                                   {"prepend_scheme", "first"},
                                   {"split", false}};
    parts.pre_tokenizer = PreTokenizer::parse(Part(spaces, path));
  }
  const nlohmann::json normalizer = {{"type", "Sequence"}, {"normalizers", steps}};
  parts.normalizer = Normalizer::parse(Part(normalizer, path));
  const nlohmann::json decoder = {{"type", "Sequence"}, {"decoders", decoders}};
  parts.decoder = TokenDecoder::parse(Part(decoder, path));
}

void add_pieces(const Model& model, Tokenizer::Parts& parts) {
  std::int32_t id = 0;
  for (const Piece& piece : model.pieces()) {
    AddedToken token;
    token.id = id++;
    token.content = piece.piece();
    parts.name_token(token.id, token.content);
    if (piece.type() == Piece::CONTROL || piece.type() == Piece::UNKNOWN) {
      parts.special.insert(token.id);
      parts.raw_tokens.add(token, token.content);
    } else if (piece.type() == Piece::USER_DEFINED) {
      parts.normalized_tokens.add(token, token.content);  // they are written as in changed text
    }
  }
}

// Tokens that tokenizer_config.json adds to those of the model.
void add_configured_tokens(const std::string& path, Tokenizer::Parts& parts) {
  const auto found = parts.config.find("added_tokens_decoder");
  if (found == parts.config.end() || !found->is_object()) return;
  for (const auto& [key, value] : found->items()) {
    AddedToken token;
    std::size_t end = 0;
    const bool is_number =
        !key.empty() && key.size() < 9 && std::isdigit(static_cast<unsigned char>(key[0])) != 0;
    if (is_number) token.id = std::stoi(key, &end);
    if (!is_number || end != key.size() || token.id > kMaxTokenId || !value.is_object() ||
        !value.value("content", Json()).is_string()) {
      refuse(path,
             fmt::format("tokenizer_config.json: added_tokens_decoder: got {}: {}, want an id "
                         "and a token",
                         key, value.dump()));
    }
    token.content = value["content"].get<std::string>();
    const auto flag = [&value](const char* name) {
      return value.value(name, Json(false)) == Json(true);
    };
    token.lstrip = flag("lstrip");
    token.rstrip = flag("rstrip");
    token.single_word = flag("single_word");
    if (flag("special")) parts.special.insert(token.id);
    if (parts.has(token.id) && parts.ids[token.content] != token.id) {
      refuse(path,
             fmt::format("tokenizer_config.json: added_tokens_decoder: got id {} for {}, want "
                         "that of another token of the model",
                         token.id, token.content));
    }
    parts.name_token(token.id, token.content);
    parts.raw_tokens.add(token, token.content);
  }
}

}  // namespace

void load_sentencepiece(const std::string& path, Tokenizer::Parts& parts) {
  const Model model = read_model(path);
  parts.model =
      BpeModel::from_pieces(scored_pieces(model, path), model.trainer_spec().byte_fallback(), path);
  add_text_rules(model, path, parts);
  add_pieces(model, parts);
  add_configured_tokens(path, parts);
}

}  // namespace limbic::data
