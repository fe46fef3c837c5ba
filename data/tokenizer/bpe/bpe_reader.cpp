#include <algorithm>

#include "data/tokenizer/bpe/bpe.h"
#include "data/tokenizer/bpe/byte_level.h"
#include "data/tokenizer/utf8.h"

namespace limbic::data {

BpeModel BpeModel::parse(const Part& part, bool byte_level) {
  if (const std::string type = part["type"].text("BPE"); type != "BPE") {
    part.fail(fmt::format("got type {}, want BPE (byte-pair encoding)", type));
  }
  BpeModel model;
  model.byte_level_ = byte_level;
  model.read_vocabulary(part["vocab"]);
  model.read_options(part);
  model.prepare_alphabet();
  model.read_merges(part["merges"]);
  return model;
}

void BpeModel::read_options(const Part& part) {
  if (const Part dropout = part["dropout"]; !dropout.is_null() && dropout.json() != 0) {
    dropout.fail(fmt::format("got {}, want none: the same text must give the same tokens",
                             dropout.json().dump()));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!part[key].text("").empty()) part[key].fail("got a word mark, which is not supported");
  }
  fuse_unknown_ = part["fuse_unk"].boolean(false);
  byte_fallback_ = part["byte_fallback"].boolean(false);
  ignore_merges_ = part["ignore_merges"].boolean(false);
  const Part unknown = part["unk_token"];
  if (unknown.is_null()) return;
  unknown_id_ = id_or_none(unknown.text());
  if (unknown_id_ == kNoToken) {
    unknown.fail(fmt::format("got {}, want a token of the vocabulary", unknown.text()));
  }
}

void BpeModel::read_vocabulary(const Part& part) {
  if (!part.json().is_object()) part.fail("got no object, want the vocabulary");
  vocabulary_.reserve(part.json().size());
  for (const auto& [spelling, id] : part.json().items()) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 ||
        id.get<std::int64_t>() > kMaxTokenId) {
      part.fail(fmt::format("got id {} for {}, want 0 to {}", id.dump(), spelling, kMaxTokenId));
    }
    vocabulary_.emplace(spelling, id.get<std::int32_t>());
  }
}

std::int32_t BpeModel::id_or_none(const std::string& spelling) const {
  const auto found = vocabulary_.find(spelling);
  return found == vocabulary_.end() ? kNoToken : found->second;
}

void BpeModel::prepare_alphabet() {
  for (std::size_t byte = 0; byte < 256; ++byte) {
    append_utf8(byte_spellings_[byte], byte_level_characters()[byte]);
    byte_ids_[byte] = id_or_none(byte_spellings_[byte]);
    fallback_ids_[byte] = id_or_none(fmt::format("<0x{:02X}>", byte));
  }
  if (!ignore_merges_) return;
  by_bytes_.reserve(vocabulary_.size());
  for (const auto& [spelling, id] : vocabulary_) {
    if (!byte_level_) {
      by_bytes_.emplace(spelling, id);
    } else if (const auto bytes = byte_level_bytes(spelling)) {
      by_bytes_.emplace(*bytes, id);
    }
  }
}

void BpeModel::read_merges(const Part& part) {
  if (!part.json().is_array()) part.fail("got no list, want the merges");
  merges_.reserve(part.json().size());
  std::uint32_t rank = 0;
  for (const auto& merge : part.json()) {
    const auto fail = [&](const std::string& message) {
      part.fail(fmt::format("got {} at place {}, want {}", merge.dump(), rank, message));
    };
    std::string left, right;
    if (merge.is_string()) {
      const std::string& both = merge.get_ref<const std::string&>();
      const std::size_t space = both.find(' ');
      if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos) {
        fail("two spellings with one space between");
      }
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      left = merge[0].get<std::string>();
      right = merge[1].get<std::string>();
    } else {
      fail("a string or a pair of strings");
    }
    const std::int32_t left_id = id_or_none(left);
    const std::int32_t right_id = id_or_none(right);
    const std::int32_t id = id_or_none(left + right);
    if (left_id == kNoToken || right_id == kNoToken || id == kNoToken) {
      fail("parts and whole in the vocabulary");
    }
    merges_.set(left_id, right_id, {rank++, id});
  }
}

BpeModel BpeModel::from_pieces(const std::vector<ScoredPiece>& pieces, bool byte_fallback,
                               const std::string& where) {
  BpeModel model;
  model.byte_fallback_ = byte_fallback;
  model.fuse_unknown_ = true;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const auto& [spelling, score, role] = pieces[id];
    if (find_invalid_utf8(spelling) != std::string::npos || spelling.empty()) {
      throw DataError(fmt::format("{}: got piece {} empty or not UTF-8, want text", where, id));
    }
    if (!model.vocabulary_.emplace(spelling, static_cast<std::int32_t>(id)).second) {
      throw DataError(fmt::format("{}: got the piece {} twice, want it once", where, spelling));
    }
    if (role == ScoredPiece::Role::kUnknown) model.unknown_id_ = static_cast<std::int32_t>(id);
  }
  model.prepare_alphabet();
  model.add_merges_of(pieces);
  return model;
}

void BpeModel::add_merges_of(const std::vector<ScoredPiece>& pieces) {
  std::vector<std::int32_t> by_score;
  std::size_t pairs = 0;
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].role != ScoredPiece::Role::kText) continue;
    by_score.push_back(static_cast<std::int32_t>(id));
    pairs += pieces[id].spelling.size();
  }
  const auto piece_of = [&](std::int32_t id) -> const ScoredPiece& {
    return pieces[static_cast<std::size_t>(id)];
  };
  std::stable_sort(by_score.begin(), by_score.end(), [&](std::int32_t a, std::int32_t b) {
    return piece_of(a).score > piece_of(b).score;
  });
  const auto text_id = [&](const std::string& spelling) {
    const std::int32_t id = id_or_none(spelling);
    return id == kNoToken || piece_of(id).role == ScoredPiece::Role::kText ? id : kNoToken;
  };
  merges_.reserve(pairs);
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < by_score.size(); ++i) {
    const ScoredPiece& piece = piece_of(by_score[i]);
    if (i > 0 && piece.score < piece_of(by_score[i - 1]).score) ++rank;
    std::size_t cut = 0;
    for (next_code_point(piece.spelling, cut); cut < piece.spelling.size();
         next_code_point(piece.spelling, cut)) {
      const std::int32_t left = text_id(piece.spelling.substr(0, cut));
      const std::int32_t right = text_id(piece.spelling.substr(cut));
      if (left != kNoToken && right != kNoToken) merges_.set(left, right, {rank, by_score[i]});
    }
  }
}

}  // namespace limbic::data
